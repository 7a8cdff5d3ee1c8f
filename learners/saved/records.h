// Pieces of serialised forms that families share. Internal to learners/.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "learners/calibration/platt.h"
#include "learners/error.h"
#include "learners/matrix.h"
#include "learners/numeric/numeric.h"
#include "learners/rows/bins.h"
#include "learners/rows/replay_ring.h"
#include "learners/saved/columns.pb.h"

namespace shrike::learners {

inline tl::unexpected<Error> damaged(std::string reason) {
  return tl::make_unexpected(Error{ErrorCode::kDamaged, "", std::move(reason)});
}

inline double exact_logit(double p) { return exact_log(p) - exact_log(1 - p); }

// The log-odds of fraud while nothing but the classes has been counted.
inline double early_margin(uint64_t frauds, uint64_t examples) {
  return exact_logit(
      std::min((static_cast<double>(frauds) + 0.5) / (static_cast<double>(examples) + 50), 0.99));
}

// The columns in the order of their names: learners that try one column after the other do it in this order,
// so that the order of the configuration does not matter.
inline std::vector<uint32_t> order_by_name(const std::vector<Column>& columns) {
  std::vector<uint32_t> order(columns.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return columns[a].name < columns[b].name; });
  return order;
}

inline void write_column(const Column& column, proto::ColumnRecord& out) {
  out.set_name(column.name);
  out.set_categorical(column.kind == ColumnKind::kCategorical);
}

template <typename Records>
std::vector<Column> read_columns(const Records& records) {
  std::vector<Column> columns;
  for (const proto::ColumnRecord& record : records) {
    columns.push_back(
        {record.name(), record.categorical() ? ColumnKind::kCategorical : ColumnKind::kNumeric});
  }
  return columns;
}

inline void write_bins(const ColumnBins& bins, proto::LinearColumn& out) {
  for (const float cut : bins.cuts) out.add_cuts(cut);
  out.set_categories(bins.categorical);
}

// Ask sound() of what was read.
inline ColumnBins read_bins(const proto::LinearColumn& in) {
  return {{in.cuts().begin(), in.cuts().end()}, in.categories()};
}

template <typename T>
std::string to_bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// False when the bytes are not whole values.
template <typename T>
bool from_bytes(std::string_view bytes, std::vector<T>& out) {
  if (bytes.size() % sizeof(T) != 0) return false;
  out.resize(bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
  return true;
}

// The window and the sample lie in their learner's record, under the same names in each. Reading says whether
// sizes are right.
template <typename Record>
void write_window(const PredictionWindow& window, Record& record) {
  record.set_window_margins(to_bytes(window.rows));
  record.set_window_labels(to_bytes(window.labels));
  record.set_window_weights(to_bytes(window.weights));
  record.set_window_next(window.next);
}

template <typename Record>
bool read_window(const Record& record, int64_t capacity, PredictionWindow& window) {
  window.next = record.window_next();
  return from_bytes(record.window_margins(), window.rows) &&
         from_bytes(record.window_labels(), window.labels) &&
         from_bytes(record.window_weights(), window.weights) && window.rows.size() == window.labels.size() &&
         window.rows.size() == window.weights.size() &&
         window.rows.size() == std::min<uint64_t>(window.next, static_cast<uint64_t>(capacity));
}

template <typename Record>
void write_ring(const ReplayRing& ring, Record& out) {
  out.set_rows(to_bytes(ring.rows));
  out.set_weights(to_bytes(ring.weights));
  out.set_times(to_bytes(ring.times));
  out.set_keys(to_bytes(ring.keys));
  out.set_next(ring.next);
}

template <typename Record>
bool read_ring(const Record& in, size_t capacity, size_t columns, ReplayRing& ring) {
  ring.next = in.next();
  bool sound = from_bytes(in.rows(), ring.rows) && from_bytes(in.weights(), ring.weights) &&
               from_bytes(in.times(), ring.times) && from_bytes(in.keys(), ring.keys);
  sound = sound && ring.rows.size() == ring.size() * columns && ring.times.size() == ring.size() &&
          ring.keys.size() == ring.size() && ring.size() == std::min<uint64_t>(ring.next, capacity);
  for (const float w : ring.weights) sound &= std::isfinite(w) && w >= 0;
  return sound;
}

template <typename Record>
void write_sample(const BinSample& sample, Record& record) {
  record.set_fraud_rows(to_bytes(sample.frauds.rows));
  record.set_negative_rows(to_bytes(sample.negatives.rows));
  record.set_frauds_next(sample.frauds.next);
  record.set_negatives_next(sample.negatives.next);
}

template <typename Record>
bool read_sample(const Record& record, size_t columns, BinSample& sample) {
  sample.frauds.next = record.frauds_next();
  sample.negatives.next = record.negatives_next();
  return from_bytes(record.fraud_rows(), sample.frauds.rows) &&
         from_bytes(record.negative_rows(), sample.negatives.rows) &&
         sample.frauds.rows.size() ==
             std::min<uint64_t>(sample.frauds.next, BinSample::kFraudsMax) * columns &&
         sample.negatives.rows.size() ==
             std::min<uint64_t>(sample.negatives.next, BinSample::kNegativesMax) * columns;
}

}  // namespace shrike::learners
