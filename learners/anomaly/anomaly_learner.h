// What learners that need no labels share: they observe every transaction as it is scored, and rank by how
// unusual it is. While no fraud is known, probabilities are those of a heavy tail (the chance of fraud grows
// with one over the root of how rare the row is) whose mean is `fraud_rate`; labels, as they come, calibrate
// (Platt). Observing and learning touch different state, so it does not matter how they interleave. Internal
// to learners/.
#pragma once

#include <string>
#include <vector>

#include "learners/anomaly/row_sample.h"
#include "learners/calibration/platt.h"
#include "learners/learner.h"
#include "learners/rows/replay_ring.h"

namespace shrike::learners {

namespace proto {
class AnomalyRecord;
}

class AnomalyLearner : public Learner {
 public:
  AnomalyLearner(std::string family, std::string canonical, std::vector<Column> columns, uint64_t seed,
                 double fraud_rate);

  std::string_view family() const override { return family_; }
  const std::vector<Column>& columns() const override { return columns_; }
  uint64_t examples() const override { return examples_; }
  bool observes() const override { return true; }
  bool ready() const override { return observed_enough() && frauds_.next > 0; }
  std::string waits_for() const override {
    if (ready()) return "";
    return observed_enough() ? "no fraud came yet" : "it has observed too few transactions";
  }

  void observe(MatrixView rows, std::span<const uint64_t> keys) override;
  void partial_fit(MatrixView rows, std::span<const float> labels, std::span<const float> weights,
                   std::span<const uint64_t> keys) override;
  ModelPtr snapshot() const override;
  ModelPtr cold_snapshot() const override;
  size_t state_bytes() const override;
  std::string save() const override;
  Result<void> load(std::string_view payload);

 protected:
  static constexpr uint64_t kObservedMin = 500;  // before there is a model

  virtual bool observed_enough() const { return sample_.seen >= kObservedMin; }
  // The model as observed so far; its margins grow with how unusual a row is.
  virtual ModelPtr build(Platt platt) const = 0;
  virtual void observe_row(const float*) {}
  virtual void save_more(proto::AnomalyRecord&) const {}
  virtual bool load_more(const proto::AnomalyRecord&) { return true; }

  std::vector<Column> columns_;
  std::vector<uint32_t> by_name_;
  uint64_t seed_;
  RowSample sample_;

 private:
  std::string family_, canonical_;
  double fraud_rate_;
  uint64_t examples_ = 0;
  ReplayRing frauds_, negatives_;  // labelled rows to calibrate on
};

}  // namespace shrike::learners
