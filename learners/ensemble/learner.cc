// Members of several families side by side, combined in log-odds with weights learned by progressive
// validation: every example is first scored by each member's newest snapshot, then learned by all; a snapshot
// of the ensemble fits the weights and the calibration on the newest of these scores, and a switcher may
// prefer a member to the fit when the stream changes (see stacking.h). Members, weights and calibration are
// one model and are swapped together. Before any label is known, a member that needs none may serve.
//
// A young ensemble has seen few ways in which frauds end: what always was fraud so far looks certain. With F
// frauds judged, its probabilities stay below 1 - doubt / (F + 10 doubt).
//
// A member's options carry its name: `boosting_depth` is boosting's `depth`.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "learners/calibration/platt.h"
#include "learners/ensemble/ensemble.pb.h"
#include "learners/ensemble/model.h"
#include "learners/ensemble/stacking.h"
#include "learners/numeric/numeric.h"
#include "learners/option_table.h"
#include "learners/registry.h"
#include "learners/saved/records.h"
#include "learners/saved/sealed.h"
#include "learners/widening.h"

namespace shrike::learners {
namespace {

struct EnsembleOptions {
  int64_t refresh = 10000, calibration_window = 50000;
  double doubt = 50;
  std::vector<std::string> members = {"linear", "boosting", "forest"};
  std::string cold = "tails";         // who serves before any label; empty: nobody
  std::map<std::string, Options> of;  // by family
};

class EnsembleLearner : public Learner {
 public:
  EnsembleLearner(EnsembleOptions options, std::string canonical, std::vector<Column> columns, uint64_t seed)
      : options_(std::move(options)),
        canonical_(std::move(canonical)),
        columns_(std::move(columns)),
        seed_(seed) {}

  // The members' options may be wrong.
  Result<void> plant() {
    std::vector<std::string> families = options_.members;
    if (!options_.cold.empty()) families.push_back(options_.cold);
    for (const std::string& family : families) {
      auto member = make_learner(family, options_.of[family], columns_, seed_);
      if (!member) {
        return tl::make_unexpected(Error{
            member.error().code, fmt::format("{}_{}", family, member.error().field), member.error().reason});
      }
      (members_.size() < options_.members.size() ? members_.emplace_back() : cold_) = std::move(*member);
    }
    switcher_.shares.assign(members_.size() + 1, 1.0 / static_cast<double>(members_.size() + 1));
    refresh();
    return {};
  }

  std::string_view family() const override { return "ensemble"; }
  const std::vector<Column>& columns() const override { return columns_; }
  uint64_t examples() const override { return examples_; }
  // One member that tells rows apart is enough: what the others say, the same of every row, draws its
  // log-odds towards the prior until they are ready too.
  bool ready() const override {
    return std::any_of(members_.begin(), members_.end(), [](const auto& member) { return member->ready(); });
  }
  std::string waits_for() const override {
    std::string all;
    if (ready()) return all;
    for (const auto& member : members_) {
      if (!member->ready())
        all += fmt::format("{}{}: {}", all.empty() ? "" : "; ", member->family(), member->waits_for());
    }
    return all;
  }
  void use(Workers* workers) override {
    for (const auto& member : members_) member->use(workers);
  }

  Result<void> adopt(const Model& model) override {
    for (size_t k = 0; k < members_.size(); ++k) {
      if (options_.members[k] == "boosting") return members_[k]->adopt(model);
    }
    return Learner::adopt(model);
  }

  bool observes() const override { return cold_ != nullptr || some_member_observes(); }
  void observe(MatrixView rows, std::span<const uint64_t> keys) override {
    if (cold_) cold_->observe(rows, keys);
    for (const auto& member : members_) {
      if (member->observes()) member->observe(rows, keys);
    }
  }
  ModelPtr cold_snapshot() const override { return cold_ ? cold_->cold_snapshot() : nullptr; }

  void partial_fit(MatrixView rows, std::span<const float> labels, std::span<const float> weights,
                   std::span<const uint64_t> keys) override {
    const auto every = static_cast<uint64_t>(options_.refresh);
    for (size_t from = 0; from < rows.rows();) {
      const size_t n = std::min<size_t>(rows.rows() - from, next_look(examples_, every) - examples_);
      const MatrixView part({rows.row(from).data(), n * rows.columns()}, rows.columns());
      if (judging_) judge(part, labels.subspan(from, n), weights.subspan(from, n), keys.subspan(from, n));
      for (const auto& member : members_)
        member->partial_fit(part, labels.subspan(from, n), weights.subspan(from, n), keys.subspan(from, n));
      examples_ += n;
      from += n;
      if (is_look(examples_, every)) refresh();
    }
  }

  ModelPtr snapshot() const override {
    std::vector<ModelPtr> fresh;
    for (const auto& member : members_) fresh.push_back(member->snapshot());
    const PredictionWindow recent = recent_predictions();
    Stack stack = mixed(fit_stack(recent, members_.size()), switcher_);
    std::vector<double> margins(recent.size());
    for (size_t i = 0; i < margins.size(); ++i)
      margins[i] = stack.margin(std::span(recent.rows).subspan(i * members_.size(), members_.size()));
    Isotonic isotonic = fit_isotonic(margins, recent.labels, recent.weights);
    const double ceiling =
        options_.doubt > 0 ? 1 - options_.doubt / (frauds_judged_ + 10 * options_.doubt) : 1;
    return std::make_shared<EnsembleModel>(columns_, std::move(fresh), std::move(stack), std::move(isotonic),
                                           static_cast<float>(ceiling));
  }

  size_t state_bytes() const override {
    size_t total = sizeof(*this) + window_.rows.capacity() * sizeof(float) +
                   window_.labels.capacity() * 2 * sizeof(float);
    for (const auto& member : members_) total += member->state_bytes();
    return total + (cold_ ? cold_->state_bytes() : 0);
  }

  std::string save() const override {
    proto::EnsembleRecord record;
    record.set_options(canonical_);
    record.set_examples(examples_);
    record.set_judging(judging_);
    for (const auto& member : members_) record.add_members(member->save());
    if (cold_) record.set_cold(cold_->save());
    for (const ModelPtr& model : models_) record.add_models(serialize(*model));
    record.set_logits(to_bytes(window_.rows));
    record.set_labels(to_bytes(window_.labels));
    record.set_weights(to_bytes(window_.weights));
    record.set_next(window_.next);
    for (const double weight : stack_.weights) record.add_stack_weights(weight);
    record.set_stack_bias(stack_.bias);
    for (const double share : switcher_.shares) record.add_shares(share);
    record.set_frauds_judged(frauds_judged_);
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
    const size_t count = members_.size();
    if (record.members_size() != static_cast<int>(count) || record.models_size() != static_cast<int>(count))
      return damaged("a member is missing");
    const auto load_member = [&](const std::string& family, const std::string& bytes,
                                 std::unique_ptr<Learner>& member) -> Result<void> {
      const auto sealed = unseal(SealedKind::kLearner, UINT32_MAX, bytes);
      if (!sealed || sealed->family != family) return damaged("a member is of another family");
      auto loaded = load_learner(bytes, options_.of[family], columns_, seed_);
      if (!loaded) return tl::make_unexpected(loaded.error());
      member = std::move(*loaded);
      return {};
    };
    for (size_t k = 0; k < count; ++k) {
      if (auto ok = load_member(options_.members[k], record.members(static_cast<int>(k)), members_[k]); !ok)
        return ok;
      const auto model_sealed = unseal(SealedKind::kModel, UINT32_MAX, record.models(static_cast<int>(k)));
      if (!model_sealed || model_sealed->family == "ensemble")
        return damaged("a member's model is of another family");
      auto model = load_model(record.models(static_cast<int>(k)));
      if (!model) return tl::make_unexpected(model.error());
      if ((*model)->columns() != columns_) return damaged("a member's model is for other columns");
      models_[k] = std::move(*model);
    }
    if (cold_) {
      if (auto ok = load_member(options_.cold, record.cold(), cold_); !ok) return ok;
    }
    examples_ = record.examples();
    judging_ = record.judging();
    window_.next = record.next();
    bool sound = from_bytes(record.logits(), window_.rows) && from_bytes(record.labels(), window_.labels) &&
                 from_bytes(record.weights(), window_.weights) &&
                 window_.rows.size() == window_.size() * count && window_.weights.size() == window_.size() &&
                 window_.size() ==
                     std::min<uint64_t>(window_.next, static_cast<uint64_t>(options_.calibration_window));
    stack_.weights.assign(record.stack_weights().begin(), record.stack_weights().end());
    stack_.bias = record.stack_bias();
    switcher_.shares.assign(record.shares().begin(), record.shares().end());
    frauds_judged_ = record.frauds_judged();
    sound = sound && stack_.weights.size() == count && std::isfinite(stack_.bias) &&
            switcher_.shares.size() == count + 1 && frauds_judged_ >= 0 && frauds_judged_ < 1e15;
    for (const double weight : stack_.weights) sound &= weight >= 0 && weight < 1e4;
    for (const double share : switcher_.shares) sound &= share >= 0 && share <= 1;
    for (const float logit : window_.rows) sound &= std::isfinite(logit);
    if (!sound) return damaged("the predictions kept are not sound");
    return {};
  }

 private:
  bool some_member_observes() const {
    return std::any_of(members_.begin(), members_.end(),
                       [](const auto& member) { return member->observes(); });
  }

  // What the members said of rows that they have not learned, beside the labels. Of legitimate rows that look
  // legitimate a sample is kept, re-weighted: they tell little.
  void judge(MatrixView rows, std::span<const float> labels, std::span<const float> weights,
             std::span<const uint64_t> keys) {
    const size_t count = members_.size();
    logits_.resize(rows.rows() * count);
    scores_.resize(rows.rows());
    for (size_t k = 0; k < count; ++k) {
      models_[k]->score(rows, scores_);
      for (size_t i = 0; i < rows.rows(); ++i)
        logits_[i * count + k] = static_cast<float>(exact_logit(static_cast<double>(scores_[i])));
    }
    for (size_t i = 0; i < rows.rows(); ++i) {
      if (weights[i] <= 0) continue;
      const auto row = std::span<const float>(logits_).subspan(i * count, count);
      const float label = labels[i] > 0.5f ? 1.0f : 0.0f;
      frauds_judged_ += static_cast<double>(label * weights[i]);
      const double margin = stack_.margin(row);
      switcher_.update(margin, row, label, weights[i]);
      const double keep = chance_to_keep(label > 0, logistic(std::clamp(margin, -30.0, 30.0)));
      if (unit(mix(keys[i] ^ mix(seed_ + 2))) >= keep) continue;
      window_.add(static_cast<size_t>(options_.calibration_window), row, label, weights[i] / keep);
    }
  }

  // While the window fills, its older half was said by members that knew half as much, and is left out; a
  // full one counts whole.
  PredictionWindow recent_predictions() const {
    const size_t size = window_.size(), capacity = static_cast<size_t>(options_.calibration_window);
    const size_t kept = std::max(size - size / 2, 2 * size - std::min(2 * size, capacity));
    if (kept >= size) return window_;
    PredictionWindow recent;
    const auto from = static_cast<std::ptrdiff_t>(size - kept);
    recent.rows.assign(window_.rows.begin() + from * static_cast<std::ptrdiff_t>(members_.size()),
                       window_.rows.end());
    recent.labels.assign(window_.labels.begin() + from, window_.labels.end());
    recent.weights.assign(window_.weights.begin() + from, window_.weights.end());
    return recent;
  }

  void refresh() {
    models_.clear();
    for (const auto& member : members_) models_.push_back(member->snapshot());
    stack_ = fit_stack(recent_predictions(), members_.size());
    judging_ = ready();
  }

  EnsembleOptions options_;
  std::string canonical_;
  std::vector<Column> columns_;
  uint64_t seed_;
  uint64_t examples_ = 0;
  double frauds_judged_ = 0;  // their weight
  bool judging_ = false;      // some member was ready at the last refresh
  std::vector<std::unique_ptr<Learner>> members_;
  std::unique_ptr<Learner> cold_;
  std::vector<ModelPtr> models_;  // the members as they stood then
  Stack stack_;                   // fitted then
  Switcher switcher_;
  PredictionWindow window_;
  std::vector<float> logits_, scores_;  // of the part in hand
};

tl::unexpected<Error> bad_option(std::string name, std::string reason) {
  return tl::make_unexpected(Error{ErrorCode::kInvalidOption, std::move(name), std::move(reason)});
}

// Every family that can be a member.
std::vector<Family> member_families() {
  return {linear_family(), boosting_family(), forest_family(), tails_family(), half_space_family()};
}

Result<std::vector<std::string>> read_members(std::string_view text) {
  std::vector<std::string> members;
  while (!text.empty()) {
    const std::string_view name = take_item(text);
    const auto families = member_families();
    if (std::none_of(families.begin(), families.end(),
                     [&](const Family& family) { return family.info.name == name; }))
      return bad_option("members", fmt::format("\"{}\" is not a family that can be a member", name));
    if (std::find(members.begin(), members.end(), name) != members.end())
      return bad_option("members", fmt::format("\"{}\" is named twice", name));
    members.emplace_back(name);
  }
  if (members.empty()) return bad_option("members", "there are none");
  return members;
}

Result<std::unique_ptr<EnsembleLearner>> make(const Options& given, std::vector<Column> columns,
                                              uint64_t seed) {
  EnsembleOptions options;
  std::string canonical = fmt::format("seed={}", seed);
  const std::vector<Family> families = member_families();
  for (const auto& [name, value] : given) {
    const auto* whole = std::get_if<int64_t>(&value);
    const auto* text = std::get_if<std::string>(&value);
    if (name == "refresh" || name == "calibration_window") {
      if (whole == nullptr || *whole < 100 || *whole > 10'000'000)
        return bad_option(name, "allowed is an integer from 100 to 10000000");
      (name == "refresh" ? options.refresh : options.calibration_window) = *whole;
    } else if (name == "doubt") {
      const auto* real = std::get_if<double>(&value);
      options.doubt = whole != nullptr ? static_cast<double>(*whole) : real != nullptr ? *real : -1;
      if (!(options.doubt >= 0 && options.doubt <= 1e6))
        return bad_option(name, "allowed is a number from 0 to 1000000");
    } else if (name == "members") {
      if (text == nullptr) return bad_option(name, "allowed is text: FAMILY, …");
      auto members = read_members(*text);
      if (!members) return tl::make_unexpected(members.error());
      options.members = std::move(*members);
    } else if (name == "cold") {
      if (text == nullptr || (!text->empty() && *text != "tails" && *text != "half_space"))
        return bad_option(name, "allowed are \"tails\", \"half_space\" and \"\" (none)");
      options.cold = *text;
    } else {
      const auto family = std::find_if(families.begin(), families.end(),
                                       [&, option = std::string_view(name)](const Family& member) {
                                         return option.rfind(member.info.name + "_", 0) == 0;
                                       });
      if (family == families.end()) return bad_option(name, "the ensemble family has no such option");
      options.of[family->info.name][name.substr(family->info.name.size() + 1)] = value;
    }
  }
  const auto takes_part = [&](const std::string& family) {
    return family == options.cold ||
           std::find(options.members.begin(), options.members.end(), family) != options.members.end();
  };
  for (const Family& family : families) {
    // Options of a family that takes no part are checked all the same.
    if (options.of.count(family.info.name) == 0 || takes_part(family.info.name)) continue;
    auto checked = family.make(options.of[family.info.name], columns, seed);
    if (!checked)
      return bad_option(fmt::format("{}_{}", family.info.name, checked.error().field),
                        checked.error().reason);
  }
  for (const auto& [name, value] : given) {
    canonical += std::visit([&, key = name](const auto& v) { return fmt::format(" {}={}", key, v); }, value);
  }
  for (const Column& column : columns)
    canonical += fmt::format(" {}:{}", column.name, static_cast<int>(column.kind));
  if (options.cold.empty() ||
      std::find(options.members.begin(), options.members.end(), options.cold) == options.members.end()) {
    auto learner =
        std::make_unique<EnsembleLearner>(std::move(options), std::move(canonical), std::move(columns), seed);
    if (auto planted = learner->plant(); !planted) return tl::make_unexpected(planted.error());
    return learner;
  }
  return bad_option("cold", fmt::format("\"{}\" is a member already", options.cold));
}

}  // namespace

Family ensemble_family() {
  const EnsembleOptions defaults;
  std::vector<OptionInfo> infos = {
      {"refresh", defaults.refresh, "an integer from 100 to 10000000",
       "examples between two snapshots of the members, whose predictions are judged; at most: while there "
       "are "
       "few, a fifth of them"},
      {"calibration_window", defaults.calibration_window, "an integer from 100 to 10000000",
       "newest predictions kept (frauds, hard ones, a sample of the rest) that weights are fitted to"},
      {"doubt", defaults.doubt, "a number from 0 to 1000000",
       "how far short of certain a young ensemble stays: see the head of ensemble/learner.cc; 0: not at all"},
      {"members", std::string("linear, boosting, forest"), "text: FAMILY, …", "the families that take part"},
      {"cold", defaults.cold, "tails, half_space, or empty",
       "the family that serves before any label is known"}};
  for (const Family& member : member_families()) {
    for (OptionInfo info : member.info.options) {
      info.name = member.info.name + "_" + info.name;
      infos.push_back(std::move(info));
    }
  }
  return make_family<EnsembleLearner, make>(
      "ensemble", "members of several families, weighed by what each predicted before labels came",
      std::move(infos), load_ensemble_model);
}

}  // namespace shrike::learners
