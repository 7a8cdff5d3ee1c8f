#include "learners/ensemble/model.h"

#include <algorithm>
#include <cmath>

#include "learners/ensemble/ensemble.pb.h"
#include "learners/numeric/numeric.h"
#include "learners/saved/records.h"
#include "learners/saved/sealed.h"

namespace shrike::learners {

void EnsembleModel::score(MatrixView rows, std::span<float> out) const {
  constexpr size_t kBlock = 256;
  float scores[kBlock];
  double margins[kBlock];
  for (size_t from = 0; from < rows.rows(); from += kBlock) {
    const size_t n = std::min(kBlock, rows.rows() - from);
    const MatrixView block({rows.row(from).data(), n * rows.columns()}, rows.columns());
    std::fill_n(margins, n, stack_.bias);
    for (size_t k = 0; k < members_.size(); ++k) {
      if (stack_.weights[k] == 0) continue;
      members_[k]->score(block, {scores, n});
      for (size_t i = 0; i < n; ++i)
        margins[i] += stack_.weights[k] * exact_logit(static_cast<double>(scores[i]));
    }
    for (size_t i = 0; i < n; ++i) out[from + i] = static_cast<float>(isotonic_(margins[i]));
    logistic_in_place(out.subspan(from, n), 1, 0);
    for (float& score : out.subspan(from, n)) score *= ceiling_;
  }
}

double EnsembleModel::explain(std::span<const float> row, std::span<double> out) const {
  std::fill(out.begin(), out.end(), 0.0);
  std::vector<double> parts(out.size());
  double base = stack_.bias;
  for (size_t k = 0; k < members_.size(); ++k) {
    if (stack_.weights[k] == 0) continue;
    const auto [slope, shift] = members_[k]->calibration();
    base += stack_.weights[k] * (slope * members_[k]->explain(row, parts) + shift);
    for (size_t c = 0; c < out.size(); ++c) out[c] += stack_.weights[k] * slope * parts[c];
  }
  return base;
}

double EnsembleModel::margin(std::span<const float> row) const {
  double sum = stack_.bias;
  for (size_t k = 0; k < members_.size(); ++k) {
    if (stack_.weights[k] == 0) continue;
    const auto [slope, shift] = members_[k]->calibration();
    sum += stack_.weights[k] * (slope * members_[k]->margin(row) + shift);
  }
  return sum;
}

std::string EnsembleModel::payload() const {
  proto::EnsembleModelRecord record;
  for (const Column& column : columns_) write_column(column, *record.add_columns());
  for (const ModelPtr& member : members_) record.add_members(serialize(*member));
  for (const double weight : stack_.weights) record.add_weights(weight);
  record.set_bias(stack_.bias);
  for (const double knot : isotonic_.from) record.add_isotonic_from(knot);
  for (const double knot : isotonic_.to) record.add_isotonic_to(knot);
  if (ceiling_ < 1) record.set_ceiling(ceiling_);
  return record.SerializeAsString();
}

Result<ModelPtr> load_ensemble_model(uint32_t, std::string_view payload) {
  proto::EnsembleModelRecord record;
  if (!record.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return damaged("the ensemble cannot be read");
  std::vector<Column> columns = read_columns(record.columns());
  std::vector<ModelPtr> members;
  Stack stack;
  stack.bias = record.bias();
  bool sound = !columns.empty() && record.members_size() > 0 && record.members_size() <= 64 &&
               record.weights_size() == record.members_size() && std::fabs(stack.bias) < 1e6;
  for (const double weight : record.weights()) {
    sound &= weight >= 0 && weight < 1e4;
    stack.weights.push_back(weight);
  }
  Isotonic isotonic{{record.isotonic_from().begin(), record.isotonic_from().end()},
                    {record.isotonic_to().begin(), record.isotonic_to().end()}};
  sound &= isotonic.from.size() == isotonic.to.size() && isotonic.from.size() != 1;
  for (const auto* knots : {&isotonic.from, &isotonic.to}) {
    for (size_t i = 0; i < knots->size(); ++i)
      sound &= std::fabs((*knots)[i]) < 1e6 && (i == 0 || (*knots)[i] > (*knots)[i - 1]);
  }
  const float ceiling = record.has_ceiling() ? record.ceiling() : 1.0f;
  sound &= ceiling > 0 && ceiling <= 1;
  if (!sound) return damaged("the ensemble's weights or calibration are not sound");
  for (const std::string& bytes : record.members()) {
    const auto sealed = unseal(SealedKind::kModel, UINT32_MAX, bytes);
    if (sealed && sealed->family == "ensemble") return damaged("an ensemble has an ensemble for a member");
    auto member = load_model(bytes);
    if (!member) return tl::make_unexpected(member.error());
    if ((*member)->columns() != columns) return damaged("a member is for other columns");
    members.push_back(std::move(*member));
  }
  return std::make_shared<EnsembleModel>(std::move(columns), std::move(members), std::move(stack),
                                         std::move(isotonic), ceiling);
}

}  // namespace shrike::learners
