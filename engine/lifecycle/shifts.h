// How the values of some columns are distributed now, against a reference that was taken when a new one was
// asked for. The reference is a sample of whole days, frozen as histograms; what comes after it is counted in
// the same bins. Days of the week are compared with their like: the reference is kept by weekday, and mixed
// as the window's rows are. Size fixed by the number of columns and Settings::sample. One owner, one thread;
// time is what the caller says it is.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "features/plan.h"
#include "learners/matrix.h"

namespace shrike::engine {

namespace proto {
class ShiftsRecord;
}

// How long after a stream's first event each column of the plan may be compared: windows fill until then, so
// that counts in them grow in every stream. kNever: it grows for as long as its entity lives.
inline constexpr int64_t kNever = INT64_MAX;
std::vector<int64_t> settling_us(const features::Plan& plan);

class Shifts {
 public:
  struct Settings {
    size_t sample = 20'000;  // rows of the reference that are kept, a random sample of all
    uint64_t rows = 20'000;  // that a reference has at least,
    int64_t span_us = 0;     // and the days that it covers at least
    int64_t window_us = 0;   // the same of what is compared with it
    uint64_t window_rows = 2'000;
  };

  Shifts(std::vector<learners::ColumnKind> kinds, const Settings& settings);

  // From the next day on a new reference is gathered; the one there is serves until it is complete. One that
  // is being gathered is finished first: else many requests would mean that there never is one.
  void renew();
  // What was gathered is left out: from now on it is gathered anew.
  void gather_anew(int64_t now_us);
  // The reference, and what was gathered for one, is worth nothing any more.
  void forget();

  // A row. `dice` decides whether a full sample takes it: a hash of what it is.
  void add(uint64_t dice, int64_t time_us, std::span<const float> row);

  // At the end of a day, in this order. Whether the window is complete, and then to be compared and cleared;
  // and whether a new reference has just taken the old one's place, with an empty window.
  bool window_complete(int64_t now_us) const;
  void clear_window(int64_t now_us);
  bool take_reference(int64_t now_us);
  bool reference_complete(int64_t now_us) const;

  bool has_reference() const { return !edges_.empty(); }
  int64_t reference_from_us() const { return reference_from_us_; }
  int64_t reference_to_us() const { return reference_to_us_; }
  int64_t window_from_us() const { return window_from_us_; }
  uint64_t window_rows() const;
  bool gathering() const { return phase_ == Phase::kGathering; }
  int64_t gathering_from_us() const { return gathering() ? from_us_ : INT64_MIN; }
  uint64_t gathered() const { return seen_; }
  size_t columns() const { return kinds_.size(); }
  // At most `rows` of what is gathered, drawn at random, the same whatever was saved and restored between.
  std::vector<float> draw(size_t rows) const;

  // The window against the reference.
  struct Shift {
    double psi = 0, js = 0;
    double wasserstein = 0;  // in standard deviations of the reference; NaN for a categorical column
    double ks = 0, ks_p = 1, chi2 = 0, chi2_p = 1;
    double surplus = 0;               // of PSI, above what chance makes it
    std::array<double, 2> missing{};  // share of reference, of window
    double missing_error = 0;         // standard error of their difference
    double outside = 0;  // share of the window beyond what the reference's sample had, chance taken off
    // How large it is, chance taken off: PSI, or the distance where that is larger. Of a numeric column the
    // distance counts when both Jensen-Shannon's and Wasserstein's say so.
    double magnitude = 0;
  };
  Shift compare(size_t column) const;

  size_t bytes() const;
  void save(proto::ShiftsRecord& record) const;
  bool restore(const proto::ShiftsRecord& record);

 private:
  static constexpr size_t kBins = 32, kSlots = kBins + 1, kMissing = kBins;
  static constexpr size_t kQuantiles = 15, kWeekdays = 7;
  enum class Phase : uint8_t { kIdle, kWaiting, kGathering };

  void gather(uint64_t dice, int64_t time_us, std::span<const float> row);
  void freeze(size_t column, std::vector<float>& values);
  size_t bin(size_t column, float value) const;

  std::vector<learners::ColumnKind> kinds_;
  Settings settings_;

  Phase phase_ = Phase::kIdle;
  bool again_ = false;  // another one was asked for
  int64_t from_us_ = 0;
  uint64_t seen_ = 0;
  std::vector<std::pair<uint64_t, uint32_t>> largest_;  // a heap: dice, row in values_
  std::vector<float> values_;
  std::vector<uint8_t> weekdays_;

  // By column: rising edges, filled up with infinity; where a bin's values lie; their standard deviation.
  std::vector<float> edges_;
  std::vector<double> positions_, spreads_;
  std::vector<uint32_t> reference_;  // weekday, column, slot
  std::array<uint64_t, kWeekdays> reference_rows_{};
  int64_t reference_from_us_ = 0, reference_to_us_ = 0;

  int64_t window_from_us_ = 0;
  std::vector<uint32_t> counts_;  // column, slot
  std::array<uint64_t, kWeekdays> rows_{};
};

}  // namespace shrike::engine
