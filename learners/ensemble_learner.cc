// Members of several families side by side, combined in log-odds with weights learned by progressive
// validation: every example is first scored by each member's newest snapshot, then learned by all; a snapshot
// of the ensemble fits the weights and the calibration on the newest of these scores (see stacking.h).
// Members, weights and calibration are one model and are swapped together.
//
// A member's options carry its name: `boosting_depth` is boosting's `depth`.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "learners/envelope.h"
#include "learners/numeric.h"
#include "learners/records.h"
#include "learners/registry.h"
#include "learners/stacking.h"
#include "learners/trees.pb.h"

namespace shrike::learners {
namespace {

constexpr const char* kMembers[] = {"linear", "boosting", "forest"};
constexpr size_t kMemberCount = std::size(kMembers);

class EnsembleModel : public Model {
 public:
  EnsembleModel(std::vector<Column> columns, std::vector<ModelPtr> members, Stack stack)
      : columns_(std::move(columns)), members_(std::move(members)), stack_(std::move(stack)) {}

  std::string_view family() const override { return "ensemble"; }
  const std::vector<Column>& columns() const override { return columns_; }

  void score(MatrixView rows, std::span<float> out) const override {
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
      for (size_t i = 0; i < n; ++i) out[from + i] = logistic_float(static_cast<float>(margins[i]));
    }
  }

  double explain(std::span<const float> row, std::span<double> out) const override {
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

  double margin(std::span<const float> row) const override {
    double sum = stack_.bias;
    for (size_t k = 0; k < members_.size(); ++k) {
      if (stack_.weights[k] == 0) continue;
      const auto [slope, shift] = members_[k]->calibration();
      sum += stack_.weights[k] * (slope * members_[k]->margin(row) + shift);
    }
    return sum;
  }

  std::string payload() const override {
    proto::EnsembleModelRecord record;
    for (const Column& column : columns_) write_column(column, *record.add_columns());
    for (const ModelPtr& member : members_) record.add_members(serialize(*member));
    for (const double weight : stack_.weights) record.add_weights(weight);
    record.set_bias(stack_.bias);
    return record.SerializeAsString();
  }

 private:
  std::vector<Column> columns_;
  std::vector<ModelPtr> members_;
  Stack stack_;
};

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
  if (!sound) return damaged("the ensemble's weights are not sound");
  for (const std::string& bytes : record.members()) {
    const auto sealed = unseal(SealedKind::kModel, UINT32_MAX, bytes);
    if (sealed && sealed->family == "ensemble") return damaged("an ensemble has an ensemble for a member");
    auto member = load_model(bytes);
    if (!member) return tl::make_unexpected(member.error());
    if ((*member)->columns() != columns) return damaged("a member is for other columns");
    members.push_back(std::move(*member));
  }
  return std::make_shared<EnsembleModel>(std::move(columns), std::move(members), std::move(stack));
}

struct EnsembleOptions {
  int64_t refresh = 10000, calibration_window = 200000;
  Options members[kMemberCount];
};

class EnsembleLearner : public Learner {
 public:
  EnsembleLearner(const EnsembleOptions& options, std::string canonical, std::vector<Column> columns,
                  uint64_t seed)
      : options_(options), canonical_(std::move(canonical)), columns_(std::move(columns)), seed_(seed) {}

  // The members' options may be wrong.
  Result<void> plant() {
    for (size_t k = 0; k < kMemberCount; ++k) {
      auto member = make_learner(kMembers[k], options_.members[k], columns_, seed_);
      if (!member) {
        return tl::make_unexpected(Error{member.error().code,
                                         fmt::format("{}_{}", kMembers[k], member.error().field),
                                         member.error().reason});
      }
      members_.push_back(std::move(*member));
    }
    refresh();
    return {};
  }

  std::string_view family() const override { return "ensemble"; }
  const std::vector<Column>& columns() const override { return columns_; }
  uint64_t examples() const override { return examples_; }
  bool ready() const override {
    return std::all_of(members_.begin(), members_.end(), [](const auto& member) { return member->ready(); });
  }

  void partial_fit(MatrixView rows, std::span<const float> labels, std::span<const float> weights,
                   std::span<const uint64_t> keys) override {
    for (size_t i = 0; i < rows.rows(); ++i) {
      const MatrixView row(rows.row(i), rows.columns());
      ++examples_;
      if (weights[i] > 0 && judging_) {
        float logits[kMemberCount];
        for (size_t k = 0; k < kMemberCount; ++k) {
          float score = 0;
          models_[k]->score(row, {&score, 1});
          logits[k] = static_cast<float>(exact_logit(static_cast<double>(score)));
        }
        window_.add(static_cast<size_t>(options_.calibration_window), logits, labels[i] > 0.5f ? 1.0f : 0.0f,
                    weights[i]);
      }
      for (const auto& member : members_)
        member->partial_fit(row, labels.subspan(i, 1), weights.subspan(i, 1), keys.subspan(i, 1));
      if (examples_ % static_cast<uint64_t>(options_.refresh) == 0) refresh();
    }
  }

  ModelPtr snapshot() const override {
    std::vector<ModelPtr> fresh;
    for (const auto& member : members_) fresh.push_back(member->snapshot());
    return std::make_shared<EnsembleModel>(columns_, std::move(fresh), fit_stack(window_, kMemberCount));
  }

  size_t state_bytes() const override {
    size_t total = sizeof(*this) + window_.logits.capacity() * sizeof(float) +
                   window_.labels.capacity() * 2 * sizeof(float);
    for (const auto& member : members_) total += member->state_bytes();
    return total;
  }

  std::string save() const override {
    proto::EnsembleRecord record;
    record.set_options(canonical_);
    record.set_examples(examples_);
    record.set_judging(judging_);
    for (const auto& member : members_) record.add_members(member->save());
    for (const ModelPtr& model : models_) record.add_models(serialize(*model));
    record.set_logits(to_bytes(window_.logits));
    record.set_labels(to_bytes(window_.labels));
    record.set_weights(to_bytes(window_.weights));
    record.set_next(window_.next);
    return seal(SealedKind::kLearner, "ensemble", 1, record.SerializeAsString());
  }

  Result<void> load(std::string_view payload) {
    proto::EnsembleRecord record;
    if (!record.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
      return damaged("the ensemble's learner cannot be read");
    if (record.options() != canonical_) {
      return tl::make_unexpected(
          Error{ErrorCode::kMismatch, "", "the learner was saved with other columns, options or seed"});
    }
    if (record.members_size() != static_cast<int>(kMemberCount) ||
        record.models_size() != static_cast<int>(kMemberCount))
      return damaged("a member is missing");
    for (size_t k = 0; k < kMemberCount; ++k) {
      const auto sealed = unseal(SealedKind::kLearner, UINT32_MAX, record.members(static_cast<int>(k)));
      if (!sealed || sealed->family != kMembers[k]) return damaged("a member is of another family");
      auto member = load_learner(record.members(static_cast<int>(k)), options_.members[k], columns_, seed_);
      if (!member) return tl::make_unexpected(member.error());
      members_[k] = std::move(*member);
      const auto model_sealed = unseal(SealedKind::kModel, UINT32_MAX, record.models(static_cast<int>(k)));
      if (!model_sealed || model_sealed->family == "ensemble")
        return damaged("a member's model is of another family");
      auto model = load_model(record.models(static_cast<int>(k)));
      if (!model) return tl::make_unexpected(model.error());
      if ((*model)->columns() != columns_) return damaged("a member's model is for other columns");
      models_[k] = std::move(*model);
    }
    examples_ = record.examples();
    judging_ = record.judging();
    window_.next = record.next();
    const bool read = from_bytes(record.logits(), window_.logits) &&
                      from_bytes(record.labels(), window_.labels) &&
                      from_bytes(record.weights(), window_.weights);
    if (!read || window_.logits.size() != window_.size() * kMemberCount ||
        window_.weights.size() != window_.size() ||
        window_.size() !=
            std::min<uint64_t>(window_.next, static_cast<uint64_t>(options_.calibration_window)))
      return damaged("the window has the wrong size");
    for (const float one : window_.logits) {
      if (!std::isfinite(one)) return damaged("a prediction is not finite");
    }
    return {};
  }

 private:
  void refresh() {
    models_.clear();
    for (const auto& member : members_) models_.push_back(member->snapshot());
    judging_ = ready();
  }

  EnsembleOptions options_;
  std::string canonical_;
  std::vector<Column> columns_;
  uint64_t seed_;
  uint64_t examples_ = 0;
  bool judging_ = false;  // all members were ready at the last refresh
  std::vector<std::unique_ptr<Learner>> members_;
  std::vector<ModelPtr> models_;  // the members as they stood then
  StackWindow window_;
};

Result<std::unique_ptr<EnsembleLearner>> make(const Options& given, std::vector<Column> columns,
                                              uint64_t seed) {
  EnsembleOptions options;
  std::string canonical = fmt::format("seed={}", seed);
  for (const auto& [name, value] : given) {
    const auto* whole = std::get_if<int64_t>(&value);
    if (name == "refresh" || name == "calibration_window") {
      if (whole == nullptr || *whole < 100 || *whole > 10'000'000)
        return tl::make_unexpected(
            Error{ErrorCode::kInvalidOption, name, "allowed is an integer from 100 to 10000000"});
      (name == "refresh" ? options.refresh : options.calibration_window) = *whole;
      continue;
    }
    size_t member = 0;
    while (member < kMemberCount && name.rfind(fmt::format("{}_", kMembers[member]), 0) != 0) ++member;
    if (member == kMemberCount)
      return tl::make_unexpected(
          Error{ErrorCode::kInvalidOption, name, "the ensemble family has no such option"});
    options.members[member][name.substr(std::string_view(kMembers[member]).size() + 1)] = value;
  }
  for (const auto& [name, value] : given) {
    canonical += std::visit([&, key = name](const auto& v) { return fmt::format(" {}={}", key, v); }, value);
  }
  for (const Column& column : columns)
    canonical += fmt::format(" {}:{}", column.name, static_cast<int>(column.kind));
  auto learner = std::make_unique<EnsembleLearner>(options, std::move(canonical), std::move(columns), seed);
  if (auto planted = learner->plant(); !planted) return tl::make_unexpected(planted.error());
  return learner;
}

}  // namespace

Family ensemble_family() {
  const EnsembleOptions defaults;
  std::vector<OptionInfo> infos = {
      {"refresh", defaults.refresh, "an integer from 100 to 10000000",
       "examples between two snapshots of the members, whose predictions are judged"},
      {"calibration_window", defaults.calibration_window, "an integer from 100 to 10000000",
       "newest predictions that weights are fitted to"}};
  for (const Family& member : {linear_family(), boosting_family(), forest_family()}) {
    for (OptionInfo info : member.info.options) {
      info.name = member.info.name + "_" + info.name;
      infos.push_back(std::move(info));
    }
  }
  return make_family<EnsembleLearner, make>(
      "ensemble", "linear, boosting and forest, weighed by what each predicted before labels came",
      std::move(infos), load_ensemble_model);
}

}  // namespace shrike::learners
