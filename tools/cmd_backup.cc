// shrike backup, shrike restore: a copy of a data directory that is read event by event, so that a copy that
// was made is one that can be read.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "engine/fold/event.h"
#include "tools/commands.h"
#include "tools/data_dir.h"
#include "tools/progress.h"

namespace shrike::tools {
namespace {

constexpr size_t kRecordsAtOnce = 4096;

struct Copied {
  uint64_t from = 0, events = 0, models = 0,
           checkpoint = 0;  // the first event copied; 0: no newer checkpoint
};

// Copies what the other store has not yet. Both stay as they are for who reads them meanwhile.
class Copy {
 public:
  Copy(const storage::Store& from, storage::Store& to, const engine::Config& config)
      : from_(from), to_(to), config_(config), progress_("events") {}

  tl::expected<Copied, std::string> run() {
    if (auto same = check_same_log(); !same) return tl::make_unexpected(same.error());
    if (auto done = models(); !done) return tl::make_unexpected(done.error());
    if (auto done = events(); !done) return tl::make_unexpected(done.error());
    if (auto done = checkpoint(); !done) return tl::make_unexpected(done.error());
    for (const char* key : {"plan", "config"}) {
      const auto value = from_.get_meta(key);
      if (!value) return tl::make_unexpected(value.error().reason);
      if (!*value) continue;
      if (auto put = to_.put_meta(key, **value); !put) return tl::make_unexpected(put.error().reason);
    }
    if (auto flushed = to_.flush(); !flushed) return tl::make_unexpected(flushed.error().reason);
    return copied_;
  }

 private:
  using Done = tl::expected<void, std::string>;

  // A copy goes on where it ended, if its end is this log's.
  Done check_same_log() {
    const uint64_t last = to_.last_sequence();
    if (last == 0) return {};
    const std::string another = "it holds another log: give an empty directory";
    if (last > from_.last_sequence()) return tl::make_unexpected(another);
    if (last < from_.first_sequence()) {
      if (last + 1 == from_.first_sequence()) return {};
      return tl::make_unexpected(
          fmt::format("it ends at event {} and the log begins at {} by now: give an empty directory", last,
                      from_.first_sequence()));
    }
    const auto there = to_.get_event(last), here = from_.get_event(last);
    if (!there) return tl::make_unexpected(there.error().reason);
    if (!here) return tl::make_unexpected(here.error().reason);
    if (*there != *here) return tl::make_unexpected(another);
    return {};
  }

  Done models() {
    const auto list = from_.list_models();
    if (!list) return tl::make_unexpected(list.error().reason);
    for (const storage::ModelInfo& model : *list) {
      if (to_.get_model(model.hash)) continue;
      const auto bytes = from_.get_model(model.hash);
      if (!bytes) return tl::make_unexpected(bytes.error().reason);
      if (auto put = to_.put_model(model.hash, *bytes); !put) return tl::make_unexpected(put.error().reason);
      ++copied_.models;
    }
    return {};
  }

  Done events() {
    copied_.from = std::max(to_.last_sequence() + 1, from_.first_sequence());
    const uint64_t last = from_.last_sequence();
    auto cursor = from_.read(copied_.from);
    std::vector<std::string> values, labels;
    std::vector<storage::Record> records;
    for (bool end = false; !end;) {
      values.clear(), labels.clear(), records.clear();
      // Records hold views of these.
      values.reserve(kRecordsAtOnce), labels.reserve(kRecordsAtOnce);
      while (records.size() < kRecordsAtOnce) {
        auto next = cursor.next();
        if (!next) return tl::make_unexpected(next.error().reason);
        if ((end = !*next)) break;
        values.emplace_back((*next)->value);
        auto record = record_of((*next)->sequence, values.back(), labels);
        if (!record) return tl::make_unexpected(record.error());
        records.push_back(std::move(*record));
      }
      if (records.empty()) break;
      if (auto written = to_.append(records, true); !written)
        return tl::make_unexpected(written.error().reason);
      copied_.events += records.size();
      progress_.update(static_cast<double>(copied_.events) / static_cast<double>(last + 1 - copied_.from),
                       copied_.events);
    }
    return {};
  }

  // With what the indexes know of its transaction.
  tl::expected<storage::Record, std::string> record_of(uint64_t sequence, const std::string& value,
                                                       std::vector<std::string>& labels) const {
    storage::Record record{.sequence = sequence, .value = value};
    const auto event = engine::decode_event(config_.schema(), value);
    if (!event)
      return tl::make_unexpected(fmt::format("event {} cannot be read: {}", sequence, event.error()));
    std::optional<storage::Key> key;
    if (const auto* transaction = std::get_if<engine::TransactionEvent>(&*event)) {
      key = record.transaction = engine::to_bytes(transaction->transaction.id);
    } else if (const auto* label = std::get_if<engine::LabelEvent>(&*event)) {
      key = engine::to_bytes(label->transaction);
    } else if (const auto* outcome = std::get_if<engine::OutcomeEvent>(&*event)) {
      key = engine::to_bytes(outcome->transaction);
    } else if (const auto* kpi = std::get_if<engine::KpiEvent>(&*event)) {
      key = engine::to_bytes(kpi->transaction);
    }
    if (!key) return record;
    auto label = from_.find_label(*key);
    if (!label) return tl::make_unexpected(label.error().reason);
    if (*label) {
      labels.push_back(std::move(**label));
      record.label = storage::LabelEntry{*key, labels.back()};
    }
    return record;
  }

  // So that the copy begins as quickly as the directory would.
  Done checkpoint() {
    const auto newest = from_.latest_checkpoint();
    if (!newest) return tl::make_unexpected(newest.error().reason);
    if (!*newest) return {};
    const auto there = to_.list_checkpoints();
    if (!there) return tl::make_unexpected(there.error().reason);
    if (!there->empty() && there->back() >= (*newest)->sequence) return {};
    auto writer = to_.begin_checkpoint((*newest)->sequence);
    if (!writer) return tl::make_unexpected(writer.error().reason);
    for (const auto& [part, chunks] : (*newest)->parts) {
      for (const std::string& chunk : chunks) {
        if (auto added = (*writer)->add(part, chunk); !added)
          return tl::make_unexpected(added.error().reason);
      }
    }
    if (auto committed = (*writer)->commit(); !committed)
      return tl::make_unexpected(committed.error().reason);
    copied_.checkpoint = (*newest)->sequence;
    return {};
  }

  const storage::Store& from_;
  storage::Store& to_;
  const engine::Config& config_;
  Progress progress_;
  Copied copied_;
};

int copy(const std::string& from, const std::string& to, bool into_empty) {
  auto source = open_data_dir(from);
  if (!source) return complain(source.error(), kFailed);
  std::error_code none;
  if (into_empty && std::filesystem::exists(to, none) && !std::filesystem::is_empty(to, none))
    return complain(fmt::format("{} is not empty; restore into a new directory", to), kBadInput);
  auto opened = storage::Store::open(to, {});
  if (!opened) return complain(opened.error().reason, kFailed);
  const auto copied = Copy(*source->store, **opened, *source->config).run();
  if (!copied) return complain(fmt::format("{}: {}", to, copied.error()), kFailed);
  fmt::print(
      "{}: {} events{}, {} models{}; it holds events {} to {}\n", to, copied->events,
      copied->events > 0 ? fmt::format(" from {} on", copied->from) : std::string(), copied->models,
      copied->checkpoint > 0 ? fmt::format(", the checkpoint at {}", copied->checkpoint) : std::string(),
      (*opened)->first_sequence(), (*opened)->last_sequence());
  return 0;
}

}  // namespace

void add_backup(CLI::App& app, int& exit_code) {
  auto from = std::make_shared<std::string>(), to = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("backup",
                                         "Copies a data directory, also while a server runs on it: every "
                                         "event is read and decoded on the way, the "
                                         "models and the newest checkpoint come along. Given the same copy "
                                         "again it adds what has come since.\n\n"
                                         "  shrike backup ./shrike-data /mnt/backup/shrike");
  command->add_option("dir", *from, "data directory")->required();
  command->add_option("copy", *to, "the copy, made when absent")->required();
  command->callback([from, to, &exit_code] { exit_code = copy(*from, *to, false); });
}

void add_restore(CLI::App& app, int& exit_code) {
  auto from = std::make_shared<std::string>(), to = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("restore",
                         "Makes a data directory of a copy that `shrike backup` has made. A server goes on "
                         "from there with the last "
                         "event that was copied; what alerts had not been delivered is not in a copy.\n\n"
                         "  shrike restore /mnt/backup/shrike ./shrike-data");
  command->add_option("copy", *from, "the copy")->required();
  command->add_option("dir", *to, "the new data directory")->required();
  command->callback([from, to, &exit_code] { exit_code = copy(*from, *to, true); });
}

}  // namespace shrike::tools
