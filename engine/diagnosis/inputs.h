// What came in: the columns, and the fields that no column shows as they are. A sample of each day's rows,
// and how each column's values of a day differ from those of the same weekdays of the reference. Weekdays are
// compared with their like, so that a weekend is no change.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/config/config.h"
#include "engine/diagnosis/evidence.h"
#include "engine/fold/dropped.h"
#include "engine/replay/comparison.h"

namespace shrike::engine {

class InputReader {
 public:
  static constexpr size_t kRowsOfDay = 1000, kReferenceRows = 4000, kRowsMin = 100;

  // `begun`: the log's first day, from which windows fill; kNoDay when they filled long ago.
  InputReader(ConfigPtr config, Days reference, Days period, int64_t begun);

  void see(const TransactionEvent& event);
  // From this day on a column, or all of a field, is logged as missing because it was dropped; or no more so.
  // Such days say nothing of what came in.
  void dropped(const std::string& target, int64_t day);
  void restored(const std::string& target, int64_t day);
  // What has changed. An error when there is nothing to compare.
  tl::expected<InputEvidence, std::string> changes() const;
  // A sample of the rows of these days, one after the other.
  std::vector<float> rows(Days days, size_t rows_max) const;

 private:
  struct Day {
    explicit Day(size_t width) : sample(width, kRowsOfDay) {}
    RowSample sample;
    uint64_t transactions = 0;
  };
  using Weekdays = std::array<std::vector<float>, 7>;

  // Columns come first, then fields.
  size_t subjects() const { return config_->columns.size() + fields_.size(); }
  size_t width() const { return subjects() + 1; }
  learners::ColumnKind kind(size_t subject) const;
  void find_hidden_fields();
  std::vector<int64_t> usual_days(size_t column) const;
  std::vector<float> values(int64_t day, size_t column) const;
  Weekdays reference_of(size_t column) const;
  std::optional<ColumnChange> change_of(size_t column, bool compared, size_t& days) const;
  ColumnChange describe(size_t column) const;
  bool was_dropped(size_t column, int64_t day) const;

  ConfigPtr config_;
  Days reference_, period_;
  std::vector<size_t> fields_;              // of the schema, that no column shows
  std::vector<bool> compared_;              // by subject
  std::vector<uint64_t> fields_of_;         // by column, bits
  DroppedColumns names_;                    // what targets mean
  std::vector<std::vector<Days>> dropped_;  // by column
  std::map<int64_t, Day> days_;
  std::vector<float> row_;  // of the transaction under way
};

}  // namespace shrike::engine
