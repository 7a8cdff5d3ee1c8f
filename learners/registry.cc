#include "learners/registry.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <cmath>

#include "learners/linear/linear.pb.h"
#include "learners/saved/records.h"
#include "learners/saved/sealed.h"

namespace shrike::learners {
namespace {

constexpr uint32_t kVersionMax = 4;

const std::vector<Family>& registered() {
  static const std::vector<Family> kAll = {linear_family(),   boosting_family(), forest_family(),
                                           ensemble_family(), tails_family(),    half_space_family()};
  return kAll;
}

const Family* find(std::string_view name) {
  for (const Family& family : registered()) {
    if (family.info.name == name) return &family;
  }
  return nullptr;
}

tl::unexpected<Error> unknown(std::string_view family) {
  return tl::make_unexpected(
      Error{ErrorCode::kUnknownFamily, "family", fmt::format("\"{}\" is not a known family", family)});
}

// The same probability for every row.
class PriorModel : public Model {
 public:
  PriorModel(std::vector<Column> columns, double probability)
      : columns_(std::move(columns)), probability_(probability), margin_(exact_logit(probability)) {}

  std::string_view family() const override { return "prior"; }
  const std::vector<Column>& columns() const override { return columns_; }
  void score(MatrixView rows, std::span<float> out) const override {
    for (size_t i = 0; i < rows.rows(); ++i) out[i] = static_cast<float>(probability_);
  }
  double explain(std::span<const float>, std::span<double> out) const override {
    std::fill(out.begin(), out.end(), 0.0);
    return margin_;
  }
  double margin(std::span<const float>) const override { return margin_; }
  std::string payload() const override {
    proto::PriorRecord record;
    for (const Column& column : columns_) write_column(column, *record.add_columns());
    record.set_probability(probability_);
    return record.SerializeAsString();
  }

 private:
  std::vector<Column> columns_;
  double probability_, margin_;
};

}  // namespace

Result<ModelPtr> load_prior(uint32_t, std::string_view payload) {
  proto::PriorRecord record;
  if (!record.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return damaged("the prior cannot be read");
  const auto scored = static_cast<float>(record.probability());
  if (!(scored > 0 && scored < 1)) return damaged("the prior is not a probability");
  return make_prior_model(read_columns(record.columns()), record.probability());
}

ModelPtr make_prior_model(std::vector<Column> columns, double probability) {
  return std::make_shared<PriorModel>(std::move(columns), probability);
}

const std::vector<FamilyInfo>& families() {
  static const auto kInfos = [] {
    std::vector<FamilyInfo> infos;
    for (const Family& family : registered()) infos.push_back(family.info);
    return infos;
  }();
  return kInfos;
}

Result<std::unique_ptr<Learner>> make_learner(std::string_view family, const Options& options,
                                              std::vector<Column> columns, uint64_t seed) {
  const Family* found = find(family);
  if (found == nullptr) return unknown(family);
  return found->make(options, std::move(columns), seed);
}

Result<std::unique_ptr<Learner>> load_learner(std::string_view bytes, const Options& options,
                                              std::vector<Column> columns, uint64_t seed) {
  const auto sealed = unseal(SealedKind::kLearner, kVersionMax, bytes);
  if (!sealed) return tl::make_unexpected(sealed.error());
  const Family* found = find(sealed->family);
  if (found == nullptr) return unknown(sealed->family);
  return found->load(sealed->version, sealed->payload, options, std::move(columns), seed);
}

std::string serialize(const Model& model) {
  return seal(SealedKind::kModel, model.family(), model.version(), model.payload());
}

std::string content_hash(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

Result<ModelPtr> load_model(std::string_view bytes) {
  const auto sealed = unseal(SealedKind::kModel, kVersionMax, bytes);
  if (!sealed) return tl::make_unexpected(sealed.error());
  if (sealed->family == "prior") return load_prior(sealed->version, sealed->payload);
  const Family* found = find(sealed->family);
  if (found == nullptr) return unknown(sealed->family);
  return found->load_model(sealed->version, sealed->payload);
}

}  // namespace shrike::learners
