#include "engine/lifecycle/importance.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/fold/event.h"
#include "engine/lifecycle/shifts.pb.h"
#include "learners/numeric/numeric.h"

namespace shrike::engine {
namespace {

constexpr double kScoreMin = 1e-6;

}  // namespace

Importance::Importance(size_t columns) : shares_(columns, 1 / static_cast<double>(columns)) {}

void Importance::begin(std::vector<float> rows) {
  stop();
  rows_ = std::move(rows);
  weighed_.clear();
}

void Importance::stop() {
  rows_.clear();
  before_.clear();
}

std::vector<double> Importance::log_odds(const learners::Model& model, const std::vector<float>& rows) const {
  std::vector<float> scores(rows.size() / shares_.size());
  model.score({rows, shares_.size()}, scores);
  std::vector<double> odds;
  for (const float score : scores) {
    const double p = std::clamp(static_cast<double>(score), kScoreMin, 1 - kScoreMin);
    odds.push_back(learners::exact_log(p / (1 - p)));
  }
  return odds;
}

void Importance::step(const learners::Model& model) {
  if (rows_.empty()) return;
  const size_t width = shares_.size(), rows = rows_.size() / width, column = weighed_.size();
  std::vector<float> exchanged = rows_;
  for (size_t row = 0; row < rows; ++row)
    exchanged[row * width + column] = rows_[(row + rows / 2) % rows * width + column];
  if (before_.empty()) before_ = log_odds(model, rows_);
  const std::vector<double> after = log_odds(model, exchanged);
  double change = 0;
  for (size_t row = 0; row < rows; ++row) change += std::fabs(after[row] - before_[row]);
  weighed_.push_back(std::isfinite(change) ? change : 0);
  if (weighed_.size() < width) return;
  const double all = std::accumulate(weighed_.begin(), weighed_.end(), 0.0);
  for (size_t c = 0; c < width; ++c)
    shares_[c] = all > 0 ? weighed_[c] / all : 1 / static_cast<double>(width);
  stop();
}

void Importance::save(proto::ImportanceRecord& record) const {
  record.mutable_shares()->Add(shares_.begin(), shares_.end());
  record.set_rows(floats_to_bytes(rows_));
  record.mutable_weighed()->Add(weighed_.begin(), weighed_.end());
}

bool Importance::restore(const proto::ImportanceRecord& record) {
  const auto width = static_cast<int>(shares_.size());
  if (record.shares_size() != width || record.rows().size() % (sizeof(float) * shares_.size()) != 0 ||
      record.weighed_size() > width)
    return false;
  shares_.assign(record.shares().begin(), record.shares().end());
  stop();
  rows_ = floats_from_bytes(record.rows());
  weighed_.assign(record.weighed().begin(), record.weighed().end());
  return rows_.empty() || weighed_.size() < shares_.size();
}

}  // namespace shrike::engine
