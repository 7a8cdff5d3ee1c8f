// What calls took, in microseconds: mean and quantiles of all of them. One owner.
#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

namespace shrike::engine {

class CallTimes {
 public:
  using Clock = std::chrono::steady_clock;
  static double us_since(Clock::time_point start) {
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
  }

  void add(double us) { us_.push_back(static_cast<float>(us)), sum_ += us; }
  size_t calls() const { return us_.size(); }
  // 0 without calls, both.
  double mean() const { return us_.empty() ? 0 : sum_ / static_cast<double>(us_.size()); }
  double quantile(double q) const;

 private:
  std::vector<float> us_;
  double sum_ = 0;
};

}  // namespace shrike::engine
