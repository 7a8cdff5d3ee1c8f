// How long fraud labels take, learned from those that came: so that a transaction which has been silent for
// the maturity period counts as legitimate only as far as its label is not still under way.
//
// A label is seen only once it has come, so young transactions show short delays alone (right truncation).
// The distribution is estimated by the product-limit estimator in reverse time (Lynden-Bell, MNRAS 1971;
// Lagakos, Barraj and De Gruttola, Biometrika 1988), over a sliding span of kBins units. Part of the fold; no
// clock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace shrike::engine {

namespace proto {
class LabelDelaysRecord;
}

class LabelDelays {
 public:
  // Delays are counted in eighths of the maturity period. `expected_us`: how long labels are declared to take
  // on average; 0 when nobody knows.
  LabelDelays(int64_t maturity_us, int64_t expected_us);

  // A fraud of `transaction_us` became known at `label_us`, while event time is `now_us`.
  void add(int64_t transaction_us, int64_t label_us, int64_t now_us);
  // The share of fraud labels that come within the maturity period, of those that come within the span. While
  // fewer than kLabelsMin are known it is that of exponential delays of the declared mean; 1 without one.
  double share_by_maturity(int64_t now_us);
  // How likely silence for the maturity period means legitimate, for a transaction scored `score`: its label
  // may be under way. With weights of this size for what is silent, and one for every label that comes, the
  // expected gradient is that of complete labels where the score is right (Chapelle, KDD 2014; Ktena et al.,
  // RecSys 2019, who weigh fake negatives alike).
  double weight_of_silence(double score, int64_t now_us);

  void save(proto::LabelDelaysRecord& record) const;
  // False when the record is damaged; an empty one is that of no label.
  [[nodiscard]] bool restore(const proto::LabelDelaysRecord& record);

  static constexpr int64_t kPerMaturity = 8;
  static constexpr size_t kBins = 128;  // sixteen maturity periods
  static constexpr uint64_t kLabelsMin = 100;

 private:
  void slide(int64_t cohort);
  double estimate(int64_t now) const;

  int64_t unit_us_;
  double expected_share_ = 1;
  // Labels by their transaction's unit of time (modulo kBins) and by their delay.
  std::array<std::array<uint32_t, kBins>, kBins> counts_{};
  int64_t newest_ = INT64_MIN;  // unit of the newest cohort; older ones than kBins units are forgotten
  int64_t estimated_at_ = INT64_MIN;
  double share_;
};

}  // namespace shrike::engine
