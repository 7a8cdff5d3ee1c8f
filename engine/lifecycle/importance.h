// How much each column counts for a model, in small steps, since the thread that judges also answers: the
// mean change of the log-odds when the column's values are exchanged among rows (permutation importance,
// Breiman, "Random Forests", 2001, of the output instead of the loss, which needs no labels). One owner, one
// thread.
#pragma once

#include <cstddef>
#include <vector>

#include "learners/model.h"

namespace shrike::engine {

namespace proto {
class ImportanceRecord;
}

class Importance {
 public:
  explicit Importance(size_t columns);

  // Of columns, adding up to 1; all alike before the first model.
  const std::vector<double>& shares() const { return shares_; }
  // From now on step() weighs a model's columns by these rows, one after the other. shares() stay as they are
  // until the last one is weighed.
  void begin(std::vector<float> rows);
  void stop();
  // The next column of what begin() began: two dozen microseconds for each thousand values. Nothing when
  // nothing is to be weighed.
  void step(const learners::Model& model);

  void save(proto::ImportanceRecord& record) const;
  // False when the record is damaged or of another number of columns.
  [[nodiscard]] bool restore(const proto::ImportanceRecord& record);

 private:
  std::vector<double> log_odds(const learners::Model& model, const std::vector<float>& rows) const;

  std::vector<double> shares_;
  std::vector<double> before_;   // log-odds of rows_; empty until a step needs them
  std::vector<float> rows_;      // that the columns are weighed by; empty when none are
  std::vector<double> weighed_;  // columns so far
};

}  // namespace shrike::engine
