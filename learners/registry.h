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

Family linear_family();
Result<ModelPtr> load_prior(uint32_t version, std::string_view payload);

}  // namespace shrike::learners
