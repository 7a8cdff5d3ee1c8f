// The loaders of models and learners, with the checksum as it came and repaired, so that what lies behind it
// is reached.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "learners/formats/import.h"
#include "learners/learner.h"
#include "learners/saved/sealed.h"

using namespace shrike::learners;

namespace {

const Options kLinear = {{"hash_bits", int64_t{4}}, {"bin_sample", int64_t{50}}};
const Options kEnsemble = {{"linear_hash_bits", int64_t{4}}, {"linear_bin_sample", int64_t{50}},
                           {"boosting_trees", int64_t{3}},   {"boosting_bin_sample", int64_t{50}},
                           {"forest_trees", int64_t{3}},     {"forest_bin_sample", int64_t{50}},
                           {"refresh", int64_t{100}}};
const Options kTrees = {{"trees", int64_t{3}}, {"bin_sample", int64_t{50}}};

const char* const kXgboost =
    R"({"learner":{"feature_names":[],"gradient_booster":{"model":{"trees":[
{"categories":[1,33],"categories_nodes":[2],"categories_segments":[0],"categories_sizes":[2],
"default_left":[1,0,0,0,0],"left_children":[2,-1,3,-1,-1],"right_children":[1,-1,4,-1,-1],
"split_conditions":[10.5,0.75,5E-1,-0.25,1E-1],"split_indices":[1,0,0,0,0],"split_type":[0,0,1,0,0],
"sum_hessian":[10,4,6,2,4]}]},"name":"gbtree"},
"learner_model_param":{"base_score":"[2.5E-1]","num_class":"0","num_feature":"2"},
"objective":{"name":"binary:logistic"}}})";
const char* const kDart =
    R"({"learner":{"attributes":{"best_iteration":"0"},"gradient_booster":{"name":"dart","weight_drop":[0.5,0.25],
"gbtree":{"model":{"gbtree_model_param":{"num_parallel_tree":"1"},"iteration_indptr":[0,1,2],"trees":[
{"default_left":[1,0,0],"left_children":[1,-1,-1],"right_children":[2,-1,-1],"split_conditions":[10.5,0.75,5E-1],
"split_indices":[1,0,0],"sum_hessian":[10,4,6]},{"default_left":[0],"left_children":[-1],"right_children":[-1],
"split_conditions":[0.5],"split_indices":[0],"sum_hessian":[10]}]}}},
"learner_model_param":{"base_score":"5E-1","num_feature":"2"},"objective":{"name":"binary:logistic"}}})";
const char* const kLightgbm =
    "tree\nversion=v4\nnum_tree_per_iteration=1\nmax_feature_idx=1\nobjective=binary sigmoid:0.5\n"
    "feature_names=a b\n\nTree=0\nnum_leaves=3\nnum_cat=1\nsplit_feature=0 1\nthreshold=0.1 0\n"
    "decision_type=8 1\nleft_child=-1 -2\nright_child=1 -3\nleaf_value=0.1 0.2 -0.3\nleaf_count=10 20 30\n"
    "internal_count=60 50\ncat_boundaries=0 2\ncat_threshold=1 4\nshrinkage=1\n\n\nend of trees\n";

// A sound learner and its model of each family: what edits are made to.
const std::vector<std::string>& sound() {
  static const std::vector<std::string> kSound = [] {
    std::vector<std::string> all;
    for (const auto& [family, options] : std::map<std::string, Options>{
             {"linear", kLinear}, {"boosting", kTrees}, {"forest", kTrees}, {"ensemble", kEnsemble}}) {
      const std::vector<Column> columns = {{"a", ColumnKind::kNumeric}, {"b", ColumnKind::kCategorical}};
      auto learner = make_learner(family, options, columns, 1).value();
      for (uint64_t i = 0; i < 200; ++i) {
        const std::vector<float> row = {static_cast<float>(i * 37 % 100), static_cast<float>(i % 7)};
        const float label = row[0] > 70 ? 1.0f : 0.0f, weight = 1;
        learner->partial_fit({row, 2}, {&label, 1}, {&weight, 1}, {&i, 1});
      }
      all.push_back(learner->save());
      all.push_back(serialize(*learner->snapshot()));
    }
    return all;
  }();
  return kSound;
}

void try_all(std::string_view bytes) {
  if (auto model = load_model(bytes)) {
    const size_t columns = (*model)->columns().size();
    if (columns == 0 || columns > 10'000) return;
    std::vector<float> rows(columns * 20), out(20);
    for (size_t i = 0; i < rows.size(); ++i)
      rows[i] = i % 5 == 0 ? NAN : i % 7 == 0 ? INFINITY : static_cast<float>(i) - 30;
    (*model)->score({rows, columns}, out);
    for (const float p : out) {
      if (!(p > 0 && p < 1)) std::abort();
    }
    if (!load_model(serialize(**model))) std::abort();
  }
  const std::vector<Column> columns = {{"a", ColumnKind::kNumeric}, {"b", ColumnKind::kCategorical}};
  for (const Options& options : {kLinear, kTrees, kEnsemble}) {
    if (auto learner = load_learner(bytes, options, columns, 1)) (void)(*learner)->snapshot();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  try_all(bytes);
  repair_checksum(bytes);
  try_all(bytes);
  if (size >= 4) {  // edits of what is sound: which, then place and byte
    std::string edited = sound()[data[0] % sound().size()];
    for (size_t i = 1; i + 3 <= size; i += 3)
      edited[(data[i] * size_t{256} + data[i + 1]) % edited.size()] = static_cast<char>(data[i + 2]);
    repair_checksum(edited);
    try_all(edited);
  }
  for (const char* family : {"linear", "boosting", "forest", "ensemble", "prior"}) {
    try_all(seal(SealedKind::kModel, family, 1, bytes));
    try_all(seal(SealedKind::kLearner, family, 1, bytes));
  }
  const std::vector<Column> columns = {{"a", ColumnKind::kNumeric}, {"b", ColumnKind::kNumeric}};
  const auto try_import = [&](const std::string& file) {
    if (auto model = read_model(file, columns)) try_all(serialize(**model));
  };
  try_import(bytes);
  try_import("{" + bytes);
  try_import("tree\nversion=v4\n" + bytes);
  for (const char* text : {kXgboost, kDart, kLightgbm}) {  // edits of what is sound
    if (size < 4) break;
    std::string edited = text;
    for (size_t i = 0; i + 3 <= size; i += 3)
      edited[(data[i] * size_t{256} + data[i + 1]) % edited.size()] = static_cast<char>(data[i + 2]);
    try_import(edited);
  }
  return 0;
}
