#include "tools/labellers.h"

#include <cmath>

namespace shrike::tools {
namespace {

constexpr int64_t kDayS = 86'400, kHourS = 3'600;

}  // namespace

Labellers::Labellers(const LabellingOptions& options, uint64_t seed)
    : options_(options), random_(seed ^ 0x1ABE15ull) {}

bool Labellers::somebody_looks(int64_t day) {
  if (day != day_) looked_ = 0;
  day_ = day;
  const int capacity = day % 7 >= 5 ? options_.reviews_per_day / 2 : options_.reviews_per_day;
  return looked_++ < capacity;
}

ComingLabel Labellers::verdict(const SimulatedTransaction& transaction) {
  ComingLabel label{2 * kHourS + static_cast<int64_t>(random_.below(kDayS)), "analyst", "\"unsure\""};
  if (random_.uniform() < options_.unsure) return label;
  const bool errs = random_.uniform() < options_.error;
  label.verdict = (transaction.is_fraud != 0) != errs ? "1" : "0";
  return label;
}

ComingLabel Labellers::chargeback() {
  if (options_.delayed) {
    const auto mean_s = static_cast<double>(options_.delay.mean_us) / 1e6;
    const double delay_s = options_.delay.exponential ? -mean_s * std::log1p(-random_.uniform()) : mean_s;
    return {static_cast<int64_t>(delay_s), "chargeback", "1"};
  }
  if (random_.below(3) == 0)
    return {kDayS / 4 + static_cast<int64_t>(random_.below(kDayS * 7 / 4)), "analyst", "1"};
  return {3 * kDayS + static_cast<int64_t>(random_.below(3 * kDayS)), "chargeback", "1"};
}

std::vector<ComingLabel> Labellers::look_at(const SimulatedTransaction& transaction,
                                            std::string_view decision) {
  std::vector<ComingLabel> labels;
  bool stopped = decision == "decline";
  if (decision == "review" && options_.reviews_per_day > 0) {
    stopped = true;  // until somebody has looked at it
    if (somebody_looks(transaction.time_s / kDayS)) {
      labels.push_back(verdict(transaction));
      stopped = labels.back().verdict[0] == '1';
    }
  }
  if (transaction.is_fraud != 0 && !(stopped && options_.hide_declined)) {
    const ComingLabel late = chargeback();
    // A verdict of an analyst that was right is not heard again.
    if (labels.empty() || labels[0].verdict[0] != '1') labels.push_back(late);
  }
  return labels;
}

}  // namespace shrike::tools
