// The parts of the configuration that describe transactions: schema, entities, features. Internal to
// config.cc.
#pragma once

#include <memory>
#include <vector>

#include "engine/config/toml_reader.h"
#include "features/plan.h"

namespace shrike::engine {

// A declared feature and where it stands in the file.
struct FeatureAt {
  features::FeatureSpec spec;
  size_t line = 0;
};

features::Schema read_schema(TomlReader& root);
std::vector<FeatureAt> read_features(TomlReader& root);
// Null when there are problems, which are added.
std::shared_ptr<const features::Plan> compile_features(const features::Schema& schema,
                                                       const std::vector<FeatureAt>& features,
                                                       const features::PlanOptions& options,
                                                       TomlReader::Problems& problems);

}  // namespace shrike::engine
