#include "tools/bench/source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <unordered_set>

#include "engine/fold/event.h"
#include "engine/replay/csv.h"
#include "tools/data_dir.h"

namespace shrike::tools::bench {
namespace {

using features::FieldType;
using features::Schema;
using features::Transaction;

constexpr int64_t kDayS = 86'400;
constexpr double kDailyPerCustomer = 1.918;  // of the simulator

class Simulated : public Source {
 public:
  Simulated(engine::ConfigPtr config, const SimulationOptions& options, int64_t first_id, int from_day)
      : config_(std::move(config)), simulator_(options), first_id_(first_id), from_day_(from_day) {}

  // Which of the simulator's columns each field takes.
  tl::expected<void, std::string> match() {
    const Schema& schema = config_->schema();
    for (size_t i = 0; i < schema.fields.size(); ++i) {
      const features::Field& field = schema.fields[i];
      const bool identity = field.type == FieldType::kInteger || field.type == FieldType::kText;
      if (i == schema.id && identity) {
        columns_.push_back(Column::kId);
      } else if (i == schema.time) {
        columns_.push_back(Column::kTime);
      } else if (field.name == "customer_id" && identity) {
        columns_.push_back(Column::kCustomer);
      } else if (field.name == "terminal_id" && identity) {
        columns_.push_back(Column::kTerminal);
      } else if (field.name == "amount" && field.type == FieldType::kNumber) {
        columns_.push_back(Column::kAmount);
      } else if (field.optional) {
        columns_.push_back(Column::kNone);
      } else {
        return tl::make_unexpected(
            fmt::format("the simulator has nothing for the schema's field \"{}\" (it has the id, the time, "
                        "customer_id, terminal_id and amount); give transactions by --csv FILE or --log DIR",
                        field.name));
      }
    }
    return {};
  }

  tl::expected<bool, std::string> next(Transaction& transaction, int& label) override {
    while (at_ == day_.size()) {
      at_ = 0;
      if (!simulator_.next_day(day_)) return false;
    }
    const SimulatedTransaction& t = day_[at_++];
    const Schema& schema = config_->schema();
    transaction.reset(schema);
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (auto set = fill(schema, i, t, transaction); !set)
        return tl::make_unexpected(fmt::format("{}: {}", set.error().field, set.error().reason));
    }
    if (auto done = features::finish(schema, transaction); !done)
      return tl::make_unexpected(fmt::format("{}: {}", done.error().field, done.error().reason));
    label = t.is_fraud;
    return true;
  }

 private:
  enum class Column { kNone, kId, kTime, kCustomer, kTerminal, kAmount };

  features::Result<void> fill(const Schema& schema, size_t field, const SimulatedTransaction& t,
                              Transaction& out) const {
    switch (columns_[field]) {
      case Column::kTime:
        return features::set_integer(schema, field,
                                     (from_day_ * kDayS + t.time_s) * 1'000'000 / schema.time_unit_us, out);
      case Column::kAmount:
        return features::set_number(schema, field, static_cast<double>(t.amount_cents) / 100, out);
      case Column::kId:
        return identity(schema, field, first_id_ + t.id, out);
      case Column::kCustomer:
        return identity(schema, field, t.customer, out);
      case Column::kTerminal:
        return identity(schema, field, t.terminal, out);
      case Column::kNone:
        break;
    }
    return {};
  }

  static features::Result<void> identity(const Schema& schema, size_t field, int64_t value,
                                         Transaction& out) {
    return schema.fields[field].type == FieldType::kText
               ? features::set_text(schema, field, fmt::to_string(value), out)
               : features::set_integer(schema, field, value, out);
  }

  engine::ConfigPtr config_;
  Simulator simulator_;
  int64_t first_id_, from_day_;
  std::vector<Column> columns_;
  std::vector<SimulatedTransaction> day_;
  size_t at_ = 0;
};

class FromCsv : public Source {
 public:
  FromCsv(engine::ConfigPtr config, std::unique_ptr<engine::CsvReader> reader)
      : config_(std::move(config)), reader_(std::move(reader)) {}

  tl::expected<bool, std::string> next(Transaction& transaction, int& label) override {
    switch (reader_->next(transaction, label)) {
      case engine::CsvReader::Line::kRow:
        return true;
      case engine::CsvReader::Line::kEnd:
        return false;
      default:
        return tl::make_unexpected(reader_->error());
    }
  }

 private:
  engine::ConfigPtr config_;  // the reader refers to its schema
  std::unique_ptr<engine::CsvReader> reader_;
};

class FromLog : public Source {
 public:
  FromLog(engine::ConfigPtr config, DataDir data, std::unordered_set<features::Key, features::KeyHash> frauds)
      : config_(std::move(config)),
        data_(std::move(data)),
        frauds_(std::move(frauds)),
        cursor_(data_.store->read(data_.store->first_sequence())) {}

  tl::expected<bool, std::string> next(Transaction& transaction, int& label) override {
    while (true) {
      const auto view = cursor_.next();
      if (!view) return tl::make_unexpected(view.error().reason);
      if (!*view) return false;
      auto event = engine::decode_event(config_->schema(), (*view)->value);
      if (!event) return tl::make_unexpected(event.error());
      auto* recorded = std::get_if<engine::TransactionEvent>(&*event);
      if (recorded == nullptr) continue;
      transaction = std::move(recorded->transaction);
      label = frauds_.contains(transaction.id) ? 1 : 0;
      return true;
    }
  }

 private:
  engine::ConfigPtr config_;
  DataDir data_;
  std::unordered_set<features::Key, features::KeyHash> frauds_;
  storage::Cursor cursor_;
};

}  // namespace

tl::expected<std::unique_ptr<Source>, std::string> simulated(const engine::ConfigPtr& config,
                                                             const SimulationOptions& options,
                                                             int64_t first_id, int from_day) {
  auto source = std::make_unique<Simulated>(config, options, first_id, from_day);
  if (auto matched = source->match(); !matched) return tl::make_unexpected(matched.error());
  return source;
}

tl::expected<std::unique_ptr<Source>, std::string> from_csv(const engine::ConfigPtr& config,
                                                            const std::string& path) {
  auto reader = engine::CsvReader::open(path, config->schema(), false);
  if (!reader) return tl::make_unexpected(reader.error());
  return std::make_unique<FromCsv>(config, std::move(*reader));
}

tl::expected<std::unique_ptr<Source>, std::string> from_log(const engine::ConfigPtr& config,
                                                            const std::string& dir) {
  auto data = open_data_dir(dir);
  if (!data) return tl::make_unexpected(data.error());
  if (data->config->schema().fingerprint() != config->schema().fingerprint()) {
    return tl::make_unexpected(fmt::format(
        "{} was recorded under another schema than that of --config; give the configuration it was served "
        "with",
        dir));
  }
  std::unordered_set<features::Key, features::KeyHash> frauds;
  auto cursor = data->store->read(data->store->first_sequence());
  while (true) {
    const auto view = cursor.next();
    if (!view) return tl::make_unexpected(view.error().reason);
    if (!*view) break;
    const auto event = engine::decode_event(config->schema(), (*view)->value);
    if (!event) return tl::make_unexpected(event.error());
    if (const auto* label = std::get_if<engine::LabelEvent>(&*event);
        label != nullptr && label->verdict == engine::Verdict::kFraud)
      frauds.insert(label->transaction);
  }
  return std::make_unique<FromLog>(config, std::move(*data), std::move(frauds));
}

int customers_for(const Schema& schema, double transactions, int from_day, int64_t today_us) {
  constexpr int kLeast = 5000, kMost = 10'000'000;
  const double days = static_cast<double>(today_us - schema.time_origin_us) / features::kDayUs - from_day - 1;
  if (days <= 1) return kLeast;
  const double needed = std::ceil(transactions / (kDailyPerCustomer * days));
  return static_cast<int>(std::clamp<double>(needed, kLeast, kMost));
}

}  // namespace shrike::tools::bench
