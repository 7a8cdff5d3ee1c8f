// Our scoring of a tree ensemble beside libxgboost's own, same model, same rows, same run: one row at a time,
// and batches of 1024, trees of depth 6, 10 and 16, each kernel that the machine has. Before it measures it
// checks that the margins of 100,000 rows with missing values are equal to the bit, kernel by kernel.
//   xgboost_bench [--benchmark_filter=…]
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <xgboost/c_api.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "learners/formats/export.h"
#include "learners/formats/import.h"
#include "learners/trees/model.h"

namespace shrike::learners {
namespace {

constexpr size_t kColumns = 29, kTrain = 20'000, kRows = 100'000;
constexpr int kTrees = 300;

void must(int status) {
  if (status == 0) return;
  fmt::print(stderr, "xgboost: {}\n", XGBGetLastError());
  std::exit(3);
}

std::vector<float> random_rows(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> rows(n * kColumns);
  for (float& v : rows) v = random() % 20 == 0 ? NAN : normal(random);
  return rows;
}

struct Setting {
  BoosterHandle booster = nullptr;
  DMatrixHandle proxy = nullptr;
  ModelPtr model;
  const TreeModel* trees = nullptr;
  std::vector<float> rows = random_rows(kRows, 2);

  static Setting& get(int64_t depth) {
    static std::map<int64_t, std::unique_ptr<Setting>> settings;
    auto& setting = settings[depth];
    if (!setting) setting.reset(new Setting(depth));
    return *setting;
  }

  // Margins by libxgboost, in place, without a DMatrix.
  const float* theirs(size_t from, size_t n) const {
    const std::string array =
        fmt::format(R"({{"data":[{},true],"shape":[{},{}],"typestr":"<f4","version":3}})",
                    reinterpret_cast<uintptr_t>(rows.data() + from * kColumns), n, kColumns);
    static const char* kHow =
        R"({"type":1,"training":false,"iteration_begin":0,"iteration_end":0,"strict_shape":false,"missing":NaN,"cache_id":0})";
    const bst_ulong* shape = nullptr;
    bst_ulong dimensions = 0;
    const float* out = nullptr;
    must(XGBoosterPredictFromDense(booster, array.c_str(), kHow, proxy, &shape, &dimensions, &out));
    return out;
  }

 private:
  explicit Setting(int64_t depth) {
    const std::vector<float> train = random_rows(kTrain, 1);
    std::mt19937 random(3);
    std::vector<float> labels(kTrain);
    for (size_t i = 0; i < kTrain; ++i) {
      const float* row = &train[i * kColumns];
      float margin = -1;
      for (size_t c = 0; c + 1 < 10; ++c) {
        const float a = std::isnan(row[c]) ? 0.5f : row[c], b = std::isnan(row[c + 1]) ? -0.5f : row[c + 1];
        margin += a * b;
      }
      labels[i] = margin + static_cast<float>(random() % 100) / 50 > 1 ? 1.0f : 0.0f;
    }
    DMatrixHandle matrix = nullptr;
    must(XGDMatrixCreateFromMat(train.data(), kTrain, kColumns, NAN, &matrix));
    must(XGDMatrixSetFloatInfo(matrix, "label", labels.data(), kTrain));
    must(XGBoosterCreate(&matrix, 1, &booster));
    for (const auto& [name, value] : {std::pair{"objective", "binary:logistic"},
                                      {"tree_method", "hist"},
                                      {"eta", "0.1"},
                                      {"nthread", "1"}})
      must(XGBoosterSetParam(booster, name, value));
    must(XGBoosterSetParam(booster, "max_depth", std::to_string(depth).c_str()));
    for (int i = 0; i < kTrees; ++i) must(XGBoosterUpdateOneIter(booster, i, matrix));
    must(XGDMatrixFree(matrix));
    must(XGProxyDMatrixCreate(&proxy));
    bst_ulong length = 0;
    const char* json = nullptr;
    must(XGBoosterSaveModelToBuffer(booster, R"({"format":"json"})", &length, &json));
    std::vector<Column> columns;
    for (size_t c = 0; c < kColumns; ++c) columns.push_back({fmt::format("f{}", c), ColumnKind::kNumeric});
    auto imported = import_xgboost({json, length}, columns);
    if (!imported) {
      fmt::print(stderr, "import: {}: {}\n", imported.error().field, imported.error().reason);
      std::exit(3);
    }
    model = *imported;
    trees = static_cast<const TreeModel*>(model.get());
    size_t differ = 0, nodes = 0;
    for (const Tree& tree : trees->scorer().trees()) nodes += tree.nodes.size();
    std::vector<float> ours(kRows);
    std::string kernels;
    for (const Kernel kernel : {Kernel::kScalar, Kernel::kAvx2, Kernel::kAvx512}) {
      if (!use_kernel(kernel)) continue;
      kernels += " " + kernel_name();
      trees->scorer().sum({rows, kColumns}, ours.data());
      for (size_t from = 0; from < kRows; from += 1000) {
        const float* margins = theirs(from, 1000);
        for (size_t i = 0; i < 1000; ++i) {
          const float single = trees->scorer().sum_row(&rows[(from + i) * kColumns]);
          differ += std::bit_cast<uint32_t>(margins[i]) != std::bit_cast<uint32_t>(ours[from + i]) ||
                    std::bit_cast<uint32_t>(single) != std::bit_cast<uint32_t>(ours[from + i]);
        }
      }
    }
    use_kernel(Kernel::kAuto);
    // Theirs, imported, exported, loaded by them again.
    const std::vector<float> before(theirs(0, 1000), theirs(0, 1000) + 1000);
    const std::string exported = export_xgboost(*model).value();
    BoosterHandle again = nullptr;
    must(XGBoosterCreate(nullptr, 0, &again));
    must(XGBoosterLoadModelFromBuffer(again, exported.data(), exported.size()));
    std::swap(booster, again);
    const float* after = theirs(0, 1000);
    for (size_t i = 0; i < 1000; ++i)
      differ += std::bit_cast<uint32_t>(before[i]) != std::bit_cast<uint32_t>(after[i]);
    std::swap(booster, again);
    must(XGBoosterFree(again));
    fmt::print("{} trees of depth {}, {} nodes, {} columns; {} rows scored by both, {} margins differ;{}\n",
               kTrees, depth, nodes, kColumns, kRows, differ, kernels);
    if (differ > 0) std::exit(1);
  }
};

void XgboostRows(benchmark::State& state) {
  const Setting& setting = Setting::get(state.range(1));
  const auto n = static_cast<size_t>(state.range(0));
  size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(setting.theirs(at, n));
    at = (at + n) % (kRows - n);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(XgboostRows)->ArgNames({"rows", "depth"})->ArgsProduct({{1, 1024}, {6, 10, 16}});

void ShrikeRows(benchmark::State& state) {
  const Setting& setting = Setting::get(state.range(1));
  if (!use_kernel(static_cast<Kernel>(state.range(2)))) return state.SkipWithError("not on this machine");
  state.SetLabel(kernel_name());
  const auto n = static_cast<size_t>(state.range(0));
  std::vector<float> out(n);
  size_t at = 0;
  for (auto _ : state) {
    setting.trees->scorer().sum({std::span(setting.rows).subspan(at * kColumns, n * kColumns), kColumns},
                                out.data());
    benchmark::DoNotOptimize(out.data());
    at = (at + n) % (kRows - n);
  }
  use_kernel(Kernel::kAuto);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(ShrikeRows)
    ->ArgNames({"rows", "depth", "kernel"})
    ->ArgsProduct({{1, 1024},
                   {6, 10, 16},
                   {static_cast<int>(Kernel::kScalar), static_cast<int>(Kernel::kAvx2),
                    static_cast<int>(Kernel::kAvx512)}});

void Explain(benchmark::State& state) {
  const Setting& setting = Setting::get(6);
  std::vector<double> parts(kColumns);
  size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        setting.model->explain(std::span(setting.rows).subspan(at * kColumns, kColumns), parts));
    at = (at + 1) % kRows;
  }
}
BENCHMARK(Explain);

}  // namespace
}  // namespace shrike::learners

BENCHMARK_MAIN();
