// Metrics of one or more learners day by day, learner x day x metric, and what is read off the table: means,
// ranks, the best of each day, rows of reports. Plain values; one thread.
#pragma once

#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "engine/replay/prequential.h"
#include "tools/json.h"

namespace shrike::tools {

// As reports have them, from the number of labelled rows on.
enum class Metric { kRows, kFrauds, kAveragePrecision, kAuc, kLogLoss, kBrier, kCardPrecision, kRecallAtFpr };

class DayTable {
 public:
  // One list of days for each learner, as Prequential::by_day() gives them. A day that a learner does not
  // have is NaN.
  explicit DayTable(const std::vector<std::vector<engine::Prequential::Day>>& learners);
  ~DayTable();
  DayTable(DayTable&&) noexcept;

  int last_day() const;  // -1 without any
  // Over those of the days that have a value; NaN when none has.
  double mean(size_t learner, Metric metric, engine::DayRange days) const;

  // By average precision, on those of the days on which every learner has one.
  struct Standing {
    double mean_rank = 0;  // 1 is best; equal values share the mean of their ranks. NaN without a day.
    size_t days_best = 0;  // with others or alone
  };
  std::vector<Standing> standings(engine::DayRange days) const;

  void print(size_t learner, engine::DayRange days) const;
  // [{"day","rows","frauds","average_precision","auc","log_loss","brier","card_precision_100",`recall`}]
  Json to_json(size_t learner, engine::DayRange days, const std::string& recall) const;
  // A line a day under a header of the same names; with `names` (one a learner) each begins with the
  // learner's. False: the file cannot be written.
  bool write_csv(const std::string& path, engine::DayRange days, const std::string& recall,
                 const std::vector<std::string>& names = {}) const;

 private:
  struct Values;
  std::unique_ptr<const Values> values_;
};

// The metrics of many days together, under the same keys.
void add_metrics(Json& json, const engine::Metrics& metrics, const std::string& recall);

}  // namespace shrike::tools
