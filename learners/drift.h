// Drift detectors: each is given one number after another (whether a prediction was wrong, or its loss) and
// says when their mean has changed: update() is then true, and the detector begins anew. Deterministic; one
// owner, one thread. A detector takes a few hundred bytes; Adwin grows with the logarithm of its window,
// Kswin keeps its window. `least` is how many numbers come before the first detection.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace shrike::learners {

// Adaptive windowing: the window grows while its mean holds. Where it can be cut into an older and a newer
// part whose means differ by more than chance allows, the oldest values leave (Bifet and Gavalda, "Learning
// from Time-Changing Data with Adaptive Windowing", SDM 2007). Values are kept in buckets that double in size
// with age, so that n of them take O(log n) buckets. `delta` is the chance of a false alarm.
class Adwin {
 public:
  // Cuts are looked for once in `clock` values. `ticks` counts as that many values seen already: detectors
  // with different ticks do that work at different times.
  explicit Adwin(double delta = 0.002, uint32_t clock = 32, uint64_t ticks = 0)
      : delta_(delta), clock_(clock), ticks_(ticks) {}

  // True when the oldest values left. The others stay.
  bool update(double x);
  double mean() const { return width_ > 0 ? total_ / static_cast<double>(width_) : 0; }
  uint64_t width() const { return width_; }

  // The state as plain numbers. restore() takes what save() gave; false when it is not sound.
  std::vector<double> save() const;
  bool restore(const std::vector<double>& state);

 private:
  static constexpr size_t kBucketsMax = 5;  // of one size; of more, the two oldest become one twice as large
  struct Bucket {
    double total, variance;  // the sum of its values, and of their squared deviations from their mean
  };
  struct Row {  // the buckets of one size, oldest first
    std::array<Bucket, kBucketsMax + 1> buckets;
    size_t count = 0;
    void pop(size_t n);  // the n oldest
  };

  void insert(double x);
  void drop_oldest();
  bool cut();

  double delta_;
  uint32_t clock_;
  uint64_t ticks_, width_ = 0;
  double total_ = 0, variance_ = 0;
  std::vector<Row> rows_;  // rows_[i]: buckets of 2^i values
};

// Page, "Continuous inspection schemes", 1954: how far numbers lie above their running mean by more than
// `delta`, added up and never below 0, must not pass `threshold`. What was added up fades by `alpha` a
// number.
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

// Gama et al., "Learning with Drift Detection", 2004: detects that the error rate has risen above the lowest
// there was, by `drift` standard deviations. x is 1 for an error, else 0.
class Ddm {
 public:
  explicit Ddm(double drift = 3, uint64_t least = 30) : drift_(drift), least_(least) {}
  bool update(double x);

 private:
  double drift_;
  uint64_t least_, n_ = 0;
  double p_ = 0, p_min_ = 1e300, s_min_ = 1e300;
};

// Baena-Garcia et al., "Early Drift Detection Method", 2006: detects that errors come closer together: the
// mean distance between two, plus two standard deviations, has fallen below `drift` times its largest value.
// x is 1 for an error, else 0.
class Eddm {
 public:
  explicit Eddm(double drift = 0.9, uint64_t least = 30) : drift_(drift), least_(least) {}
  bool update(double x);

 private:
  double drift_;
  uint64_t least_, n_ = 0, errors_ = 0;
  uint64_t last_ = 0;              // n_ at the last error
  double mean_ = 0, squares_ = 0;  // of the distances: mean, and sum of squared deviations from it
  double best_ = 0;                // the largest mean + 2 standard deviations
};

// Frias-Blanco et al., "Online and Non-Parametric Drift Detection Methods Based on Hoeffding's Bounds", 2015.
// Detects that the mean has risen since it was lowest, by more than Hoeffding's bound allows: HddmA compares
// plain means, HddmW exponentially weighted ones, in which a new value weighs `lambda`. x in [0, 1].
// `confidence` is the chance of a false alarm.
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
    double mean = -1;  // below 0: of nothing yet
    double bound = 0;  // the sum of squared weights, which Hoeffding's bound wants
    void add(double x, double lambda);
  };
  double confidence_, lambda_;
  Average all_, before_, after_;  // of all values; up to where the mean was lowest; since then
  double cut_ = 1e300;            // the lowest upper bound of the mean
};

// Raab, Heusinger and Schleif, "Reactive Soft Prototype Computing for Concept Drift Streams", 2020: compares
// the `newest` last values of the window with as many of the older ones, drawn without replacement, by the
// Kolmogorov-Smirnov test of two samples, with the exact two-sided distribution of continuous values (of
// equal ones it is cautious). It detects a change when p <= alpha and the statistic is above 0.1; then only
// the newest values stay. A value enters after the test, so that a full window is judged when the next value
// comes. The draw is a hash of the seed and of how many values there were. Values that are not finite are
// ignored. 2 * newest <= window.
class Kswin {
 public:
  explicit Kswin(double alpha = 0.005, size_t window = 100, size_t newest = 30, uint64_t seed = 0);
  bool update(double x);

 private:
  bool differ();  // whether the newest values do from the sample of the older ones

  double alpha_;
  size_t width_, newest_;
  uint64_t seed_, n_ = 0;                            // n_: values ever
  std::vector<double> window_;                       // oldest first
  std::vector<double> older_part_, drawn_, recent_;  // scratch of differ()
};

// P(D >= statistic) of the two-sided two-sample Kolmogorov-Smirnov statistic D of two samples of n continuous
// values, exactly (Gnedenko and Korolyuk, 1951); `steps` is the statistic times n.
double ks_tail(uint64_t n, uint64_t steps);

}  // namespace shrike::learners
