// Every model that a released version wrote still loads and scores as it did. A learner of an earlier
// version, or with options that meant something else then, either loads or is refused as such: an engine then
// makes it anew from the log. The shelf holds one of each family and version: NAME.model, NAME.learner and
// NAME.scores. A new version of a form puts its own beside the old ones:
//   learners_test --gtest_also_run_disabled_tests --gtest_filter='*PutOnTheShelf'
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>

#include "learners/learner.h"

namespace shrike::learners {
namespace {

constexpr const char* kVersion = "4";  // of what is put on it
const std::filesystem::path kShelf = SHRIKE_SOURCE_DIR "/tests/learners/shelf";
const std::vector<Column> kColumns = {
    {"amount", ColumnKind::kNumeric}, {"kind", ColumnKind::kCategorical}, {"age", ColumnKind::kNumeric}};

Options small(const std::string& family) {
  const std::string linear = family == "ensemble" ? "linear_" : "",
                    boosting = family == "ensemble" ? "boosting_" : "",
                    forest = family == "ensemble" ? "forest_" : "";
  Options options;
  if (family == "linear" || family == "ensemble")
    options.insert({{linear + "bin_sample", int64_t{300}}, {linear + "hash_bits", int64_t{5}}});
  if (family == "boosting" || family == "ensemble")
    options.insert({{boosting + "bin_sample", int64_t{300}},
                    {boosting + "trees", int64_t{8}},
                    {boosting + "calibration_window", int64_t{200}}});
  if (family == "forest" || family == "ensemble")
    options.insert({{forest + "bin_sample", int64_t{300}},
                    {forest + "trees", int64_t{3}},
                    {forest + "bins", int64_t{8}},
                    {forest + "calibration_window", int64_t{200}}});
  if (family == "linear") options["calibration_window"] = int64_t{200};
  if (family == "ensemble")
    options.insert({{"refresh", int64_t{400}},
                    {"calibration_window", int64_t{200}},
                    {"linear_calibration_window", int64_t{200}}});
  return options;
}

std::vector<float> rows(size_t n) {
  std::mt19937 random(4);
  std::vector<float> values;
  for (size_t i = 0; i < n; ++i) {
    values.push_back(static_cast<float>(random() % 1000));
    values.push_back(static_cast<float>(random() % 9));
    values.push_back(random() % 7 == 0 ? NAN : static_cast<float>(random() % 100));
  }
  return values;
}

std::string scores(const Model& model) {
  const std::vector<float> values = rows(50);
  std::vector<float> out(50);
  model.score({values, 3}, out);
  std::string text;
  char line[32];
  for (const float one : out) {
    std::snprintf(line, sizeof(line), "%.9g\n", static_cast<double>(one));
    text += line;
  }
  return text;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Shelf, EverythingOnItLoadsAndScoresAsItDid) {
  std::set<std::string> models, learners;  // families
  for (const auto& entry : std::filesystem::directory_iterator(kShelf)) {
    if (entry.path().extension() != ".model") continue;
    const auto model = load_model(read(entry.path()));
    ASSERT_TRUE(model) << entry.path() << model.error().reason;
    auto beside = entry.path();
    EXPECT_EQ(scores(**model), read(beside.replace_extension(".scores"))) << entry.path();
    const std::string family = beside.stem().string().substr(0, beside.stem().string().find('-'));
    models.insert(family);
    const auto learner = load_learner(read(beside.replace_extension(".learner")), small(family), kColumns, 7);
    if (!learner) {
      EXPECT_EQ(learner.error().code, ErrorCode::kMismatch) << beside << learner.error().reason;
      continue;
    }
    EXPECT_EQ((*learner)->examples(), 1000u);
    learners.insert(family);
  }
  EXPECT_EQ(models.size(), families().size());
  EXPECT_EQ(learners.size(), families().size()) << "no version of some family's learner loads";
}

TEST(Shelf, DISABLED_PutOnTheShelf) {
  const std::vector<float> values = rows(1000);
  for (const FamilyInfo& family : families()) {
    auto learner = make_learner(family.name, small(family.name), kColumns, 7).value();
    for (uint64_t i = 0; i < 1000; ++i) {
      const auto row = std::span(values).subspan(i * 3, 3);
      if (learner->observes()) learner->observe({row, 3}, {&i, 1});
      const float label = row[0] > 900 || row[1] == 3 ? 1.0f : 0.0f, weight = 1;
      learner->partial_fit({row, 3}, {&label, 1}, {&weight, 1}, {&i, 1});
    }
    const ModelPtr model = learner->snapshot();
    const auto put = [&](const char* what, const std::string& bytes) {
      std::ofstream(kShelf / (family.name + "-" + kVersion + what), std::ios::binary) << bytes;
    };
    put(".model", serialize(*model));
    put(".learner", learner->save());
    put(".scores", scores(*model));
  }
}

}  // namespace
}  // namespace shrike::learners
