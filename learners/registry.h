// Where families are made known: one line each in registry.cc. Internal to learners/.
#pragma once

#include <memory>

#include "learners/learner.h"

namespace shrike::learners {

struct Family {
  FamilyInfo info;
  Result<std::unique_ptr<Learner>> (*make)(const Options&, std::vector<Column>, uint64_t seed);
  Result<std::unique_ptr<Learner>> (*load)(uint32_t version, std::string_view payload, const Options&,
                                           std::vector<Column>, uint64_t seed);
  Result<ModelPtr> (*load_model)(uint32_t version, std::string_view payload);
};

// The usual family: `make` checks the options and gives the concrete learner, which has load(payload).
template <typename Concrete, auto make>
Family make_family(std::string name, std::string summary, std::vector<OptionInfo> options,
                   Result<ModelPtr> (*load_model)(uint32_t version, std::string_view payload)) {
  Family family;
  family.info = {std::move(name), std::move(summary), std::move(options), true};
  family.make = [](const Options& given, std::vector<Column> columns,
                   uint64_t seed) -> Result<std::unique_ptr<Learner>> {
    return make(given, std::move(columns), seed);
  };
  family.load = [](uint32_t, std::string_view payload, const Options& given, std::vector<Column> columns,
                   uint64_t seed) -> Result<std::unique_ptr<Learner>> {
    Result<std::unique_ptr<Concrete>> learner = make(given, std::move(columns), seed);
    if (!learner) return tl::make_unexpected(learner.error());
    if (auto loaded = (*learner)->load(payload); !loaded) return tl::make_unexpected(loaded.error());
    return std::unique_ptr<Learner>(std::move(*learner));
  };
  family.load_model = load_model;
  return family;
}

Family linear_family();
Family boosting_family();
Family forest_family();
Family ensemble_family();
Family tails_family();
Family half_space_family();
Result<ModelPtr> load_prior(uint32_t version, std::string_view payload);

}  // namespace shrike::learners
