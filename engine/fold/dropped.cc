#include "engine/fold/dropped.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "features/nearest.h"

namespace shrike::engine {

Result<std::vector<size_t>> DroppedColumns::columns_of(std::string_view target) const {
  std::vector<size_t> found;
  std::vector<std::string> known;
  for (size_t c = 0; c < config_->columns.size(); ++c) {
    known.push_back(config_->columns[c].name);
    if (known.back() == target) found.push_back(c);
  }
  const features::Schema& schema = config_->schema();
  const std::vector<uint64_t> fields = features::fields_of_columns(*config_->plan);
  for (size_t f = 0; f < schema.fields.size(); ++f) {
    known.push_back(std::string(kFieldPrefix) + schema.fields[f].name);
    if (known.back() != target) continue;
    for (size_t c = 0; c < fields.size(); ++c) {
      if (fields[c] >> f & 1) found.push_back(c);
    }
    if (found.empty())
      return refuse(ErrorCode::kInvalid, "target",
                    fmt::format("no column is computed from the field {}", schema.fields[f].name));
  }
  if (!found.empty()) return found;
  const std::string near = features::nearest(target, known);
  return refuse(
      ErrorCode::kNotFound, "target",
      fmt::format("there is no column \"{}\", nor is it a field (as in {}NAME){}", target.substr(0, 64),
                  kFieldPrefix, near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
}

Result<void> DroppedColumns::check(std::string_view target, bool drop) const {
  const auto columns = columns_of(target);
  if (!columns) return tl::make_unexpected(columns.error());
  if (std::all_of(columns->begin(), columns->end(), [&](size_t c) { return has(c) == drop; })) {
    return refuse(
        ErrorCode::kInvalid, "target",
        fmt::format("{} is {}", target, drop ? "dropped already" : "not dropped; `status` names what is"));
  }
  size_t left = config_->columns.size() - dropped_.size();
  if (drop)
    left -= static_cast<size_t>(
        std::count_if(columns->begin(), columns->end(), [&](size_t c) { return !has(c); }));
  if (left == 0)
    return refuse(ErrorCode::kInvalid, "target",
                  fmt::format("without {} no column would be left to score by", target));
  return {};
}

void DroppedColumns::drop(std::string_view target) {
  const auto columns = columns_of(target);
  if (!columns) return;
  for (const size_t column : *columns) {
    if (!has(column)) dropped_.insert(std::lower_bound(dropped_.begin(), dropped_.end(), column), column);
  }
}

void DroppedColumns::restore(std::string_view target) {
  const auto columns = columns_of(target);
  if (!columns) return;
  std::erase_if(dropped_, [&](size_t column) {
    return std::find(columns->begin(), columns->end(), column) != columns->end();
  });
}

bool DroppedColumns::has(size_t column) const {
  return std::binary_search(dropped_.begin(), dropped_.end(), column);
}

std::vector<std::string> DroppedColumns::names() const {
  std::vector<std::string> names;
  for (const size_t column : dropped_) names.push_back(config_->columns[column].name);
  return names;
}

void DroppedColumns::hide(std::span<float> row) const {
  for (const size_t column : dropped_) row[column] = std::numeric_limits<float>::quiet_NaN();
}

}  // namespace shrike::engine
