#include "tools/labels_csv.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "engine/fold/event.h"
#include "engine/replay/csv.h"
#include "engine/wire/wire.h"

namespace shrike::tools {
namespace {

enum Part : size_t { kId, kLabel, kSource, kTime };

// The names that a part may have; never another field's of the schema.
std::vector<std::string> names_of(const features::Schema& schema, const std::string& own,
                                  std::initializer_list<const char*> others) {
  std::vector<std::string> names;
  if (!own.empty()) names.push_back(own);
  for (const char* other : others) {
    if (other != own && !schema.find(other)) names.emplace_back(other);
  }
  return names;
}

}  // namespace

tl::expected<std::unique_ptr<LabelsCsv>, std::string> LabelsCsv::open(
    std::unique_ptr<engine::CsvRecords> records, const engine::Config& config, std::string source) {
  const features::Schema& schema = config.schema();
  const std::string &id = schema.fields[schema.id].name, &time = schema.fields[schema.time].name;
  const std::vector<std::string>& header = records->header();
  const std::vector<engine::Wanted> wanted = {
      {fmt::format("the id (\"{}\")", id), names_of(schema, id, {"transaction_id", "id"}), true},
      {fmt::format("the label (\"{}\")", schema.label), {schema.label}, true},
      {"the label's source", names_of(schema, "", {"source"}), false},
      {"the time", names_of(schema, time, {"time"}), false}};
  auto columns = engine::match_columns(header, wanted);
  const auto wrong = [&](const std::string& reason) {
    return tl::make_unexpected(fmt::format("{}:1: {}", records->name(), reason));
  };
  if (!columns) return wrong(columns.error());
  if (!columns->missing.empty()) {
    return wrong(fmt::format(
        "{}; found, separated by {}: {}. A file of labels has the columns {}, {} and, where known, {} and "
        "source",
        columns->missing, records->separators(), fmt::join(header, ", "), id, schema.label, time));
  }
  std::unique_ptr<LabelsCsv> labels(new LabelsCsv(std::move(records), config, std::move(source)));
  labels->columns_ = std::move(*columns);
  std::vector<std::string>& notes = labels->columns_.notes;
  const std::vector<std::string>& rest = labels->columns_.left_out;
  labels->times_are_labels_ =
      std::none_of(rest.begin(), rest.end(), [&](const std::string& name) { return schema.find(name); });
  if (!labels->times_are_labels_) {
    notes.push_back(
        fmt::format("{} has whole transactions: \"{}\" is theirs, not the labels', which go without one (the "
                    "server takes "
                    "the newest transaction's). A file with the columns {}, {} and {} gives the labels' own",
                    labels->records_->name(), time, id, schema.label, time));
  } else if (!rest.empty()) {
    notes.push_back(
        fmt::format("columns that are no part of a label are left out: {}", fmt::join(rest, ", ")));
  }
  return labels;
}

LabelsCsv::Read LabelsCsv::next(std::string& request) {
  while (true) {
    const Read read = records_->next();
    if (read != Read::kRecord) {
      error_ = records_->error();
      return read;
    }
    const auto labelled = read_line(request);
    if (!labelled) {
      error_ = fmt::format("{}:{}: {}", records_->name(), records_->line(), labelled.error());
      return Read::kBad;
    }
    if (*labelled) return Read::kRecord;
    ++unlabelled_;
  }
}

// False when the line has no label.
tl::expected<bool, std::string> LabelsCsv::read_line(std::string& request) {
  const auto cell = [&](Part part) {
    const int column = columns_.column[part];
    return column < 0 ? std::string_view() : records_->cells()[static_cast<size_t>(column)];
  };
  std::string verdict = "\"unsure\"";
  if (cell(kLabel) != "unsure") {
    const auto label = engine::read_label(schema_, cell(kLabel));
    if (!label) return tl::make_unexpected(label.error());
    if (*label < 0) return false;
    verdict = fmt::to_string(*label);
  }
  const std::string source(cell(kSource).empty() ? std::string_view(source_) : cell(kSource));
  if (const auto known = config_.sources.find(source); !known)
    return tl::make_unexpected("source: " + known.error());
  holder_.reset(schema_);
  for (const auto& [part, field] : {std::pair(kId, schema_.id), std::pair(kTime, schema_.time)}) {
    if (part == kTime && !times_are_labels_) continue;
    if (auto set = features::set_from_text(schema_, field, cell(part), holder_); !set)
      return tl::make_unexpected(fmt::format("{}: {}", set.error().field, set.error().reason));
  }
  if (!holder_.values[schema_.id].present)
    return tl::make_unexpected(fmt::format("{}: the id is missing", schema_.fields[schema_.id].name));
  request = label_request(schema_, holder_, verdict, source);
  return true;
}

std::string label_request(const features::Schema& schema, const features::Transaction& labelled,
                          std::string_view verdict, std::string_view source) {
  const char* quote = schema.fields[schema.id].type == features::FieldType::kText ? "\"" : "";
  std::string request = fmt::format(R"({{"{}":{}{}{},"{}":{},"source":"{}")",
                                    engine::json_escape(schema.fields[schema.id].name), quote,
                                    engine::json_escape(features::text(schema, labelled, schema.id)), quote,
                                    engine::json_escape(schema.label), verdict, source);
  if (labelled.values[schema.time].present)
    request += fmt::format(R"(,"{}":{})", engine::json_escape(schema.fields[schema.time].name),
                           features::text(schema, labelled, schema.time));
  request += '}';
  return request;
}

}  // namespace shrike::tools
