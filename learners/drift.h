// Drift detectors: each watches one number after another (an error, a loss) and says when its mean has
// changed. Deterministic, a few hundred bytes each (Kswin: its window), one thread. After a detection a
// detector begins anew.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace shrike::learners {

// Adaptive windowing: a window that keeps growing while its mean holds and is cut where two parts differ by
// more than chance allows (Bifet and Gavalda, "Learning from Time-Changing Data with Adaptive Windowing", SDM
// 2007). The window is an exponential histogram: O(log n) buckets; every `clock` values all cuts between
// buckets are tried.
class Adwin {
 public:
  // It looks for a cut at every clock-th value; `ticks`: how many it is taken to have had, so that several
  // need not look at the same time.
  explicit Adwin(double delta = 0.002, uint32_t clock = 32, uint64_t ticks = 0)
      : delta_(delta), clock_(clock), ticks_(ticks) {}

  // True when the window was cut.
  bool update(double x);
  double mean() const { return width_ > 0 ? total_ / static_cast<double>(width_) : 0; }
  uint64_t width() const { return width_; }

  // As plain numbers, for saving; restore() takes what save() gave and says whether it is sound.
  std::vector<double> save() const;
  bool restore(const std::vector<double>& state);

 private:
  static constexpr size_t kBucketsMax = 5;  // of one size
  struct Bucket {
    double total, variance;  // variance: the sum of squared deviations
  };
  struct Row {  // buckets of 2^i values, oldest first
    std::array<Bucket, kBucketsMax + 1> buckets;
    size_t count = 0;
    void pop(size_t n);
  };

  void insert(double x);
  void drop_oldest();
  bool cut();

  double delta_;
  uint32_t clock_;
  uint64_t ticks_, width_ = 0;
  double total_ = 0, variance_ = 0;
  std::vector<Row> rows_;
};

// Page, "Continuous inspection schemes", 1954: cumulated deviations from the running mean, both ways, with
// forgetting.
class PageHinkley {
 public:
  explicit PageHinkley(double delta = 0.005, double threshold = 50, double alpha = 1 - 1e-4,
                       uint64_t least = 30)
      : delta_(delta), threshold_(threshold), alpha_(alpha), least_(least) {}
  bool update(double x);

 private:
  double delta_, threshold_, alpha_;
  uint64_t least_, n_ = 0;
  double mean_ = 0, sum_ = 0;
};

// Gama et al., "Learning with Drift Detection", 2004: the error rate rises significantly above its best. x is
// 0 or 1.
class Ddm {
 public:
  explicit Ddm(double drift = 3, uint64_t least = 30) : drift_(drift), least_(least) {}
  bool update(double x);

 private:
  double drift_;
  uint64_t least_, n_ = 0;
  double p_ = 0, p_min_ = 1e300, s_min_ = 1e300;
};

// Baena-Garcia et al., "Early Drift Detection Method", 2006: errors come significantly closer together. x is
// 0 or 1.
class Eddm {
 public:
  explicit Eddm(double drift = 0.9, uint64_t least = 30) : drift_(drift), least_(least) {}
  bool update(double x);

 private:
  double drift_;
  uint64_t least_, n_ = 0, errors_ = 0, last_ = 0;
  double mean_ = 0, squares_ = 0, best_ = 0;  // of the distances between errors
};

// Frias-Blanco et al., "Online and Non-Parametric Drift Detection Methods Based on Hoeffding's Bounds", 2015:
// with averages (A), and with exponentially weighted averages (W). x in [0, 1]; a rise is detected.
class HddmA {
 public:
  explicit HddmA(double confidence = 0.001) : confidence_(confidence) {}
  bool update(double x);

 private:
  double confidence_;
  double n_ = 0, sum_ = 0, n_min_ = 0, sum_min_ = 0;
};

class HddmW {
 public:
  explicit HddmW(double confidence = 0.001, double lambda = 0.05)
      : confidence_(confidence), lambda_(lambda) {}
  bool update(double x);

 private:
  struct Average {
    double mean = -1, bound = 0;  // bound: the sum of squared weights
    void add(double x, double lambda);
  };
  double confidence_, lambda_;
  Average all_, before_, after_;
  double cut_ = 1e300;
};

// Raab, Heusinger and Schleif, "Reactive Soft Prototype Computing for Concept Drift Streams", 2020: the
// newest `newest` values of the window against as many of the older ones, drawn without replacement, by the
// two-sample Kolmogorov-Smirnov test with the exact two-sided distribution (of continuous values; ties make
// it cautious). Drift when p <= alpha and the statistic is above 0.1; then only the newest values stay. The
// test comes before the new value enters, so a full window is judged one value later. The draw is a hash of
// the seed and of how many values there were. What is not finite is left out. 2 * newest <= window.
class Kswin {
 public:
  explicit Kswin(double alpha = 0.005, size_t window = 100, size_t newest = 30, uint64_t seed = 0);
  bool update(double x);

 private:
  bool differ();  // the newest values from a sample of the older ones

  double alpha_;
  size_t width_, newest_;
  uint64_t seed_, n_ = 0;
  std::vector<double> window_;                       // oldest first
  std::vector<double> older_part_, drawn_, recent_;  // scratch of differ()
};

// P(D >= statistic) of the two-sided two-sample Kolmogorov-Smirnov statistic D of two samples of n continuous
// values, exactly (Gnedenko and Korolyuk, 1951); `steps` is the statistic times n.
double ks_tail(uint64_t n, uint64_t steps);

}  // namespace shrike::learners
