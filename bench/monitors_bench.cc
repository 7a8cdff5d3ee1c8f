// What monitors cost a transaction of 40 columns, beside a bare pass over its row.
//
//   build/release/bin/monitors_bench
#include <benchmark/benchmark.h>

#include <fmt/format.h>

#include <cmath>

#include "engine/lifecycle/drift.h"
#include "engine/lifecycle/quality.h"
#include "engine/log/recovery.h"
#include "learners/numeric/numeric.h"

namespace shrike::engine {
namespace {

constexpr size_t kColumns = 40, kRows = 4096;

ConfigPtr config() {
  static const ConfigPtr kConfig = [] {
    std::string text =
        "[schema]\nid = \"id\"\namount = \"x0\"\nlabel = \"fraud\"\n[[schema.fields]]\nname = \"id\"\n"
        "type = \"integer\"\n[[schema.fields]]\nname = \"time\"\ntype = \"time\"\n[[schema.fields]]\n"
        "name = \"x0\"\ntype = \"number\"\n";
    std::string features = "[[features]]\nname = \"x0\"\n";
    for (size_t c = 1; c < kColumns; ++c)
      features += fmt::format("[[features]]\nname = \"x{}\"\naggregate = \"field\"\ninput = \"x0\"\n", c);
    return parse_config(text + features, "bench.toml").value();
  }();
  return kConfig;
}

struct Stream {
  std::vector<Transaction> transactions;
  std::vector<float> rows;
  Stream() {
    for (uint64_t r = 0; r < kRows; ++r) {
      Transaction& one = transactions.emplace_back();
      one.reset(config()->schema());
      one.id = features::key_of(static_cast<int64_t>(r));
      one.time_us = static_cast<int64_t>(r) * 10'000'000;
      one.values[0] = {true, static_cast<int64_t>(r), ""};
      one.values[1] = {true, one.time_us, ""};
      one.values[2] = {true, static_cast<int64_t>(learners::mix(r) % 100'000), ""};
      for (size_t c = 0; c < kColumns; ++c)
        rows.push_back(static_cast<float>(std::log(learners::unit(learners::mix(r * kColumns + c)))));
    }
  }
};

// Fed until there is a reference; then every transaction is counted, and drift gathers no more.
template <typename OneMonitor>
void feed(benchmark::State& state) {
  static const Stream kStream;
  OneMonitor monitor(config());
  NoExamples nowhere;
  Fold fold(config(), nowhere, nullptr);
  std::vector<JudgementEvent> found;
  int64_t days = 0;
  Transaction transaction = kStream.transactions[0];
  monitor.model(ModelEvent{ModelAction::kAccepted, 1, "m", ""}, fold);
  const auto take = [&](size_t r) {
    const std::span<const float> row(&kStream.rows[r * kColumns], kColumns);
    monitor.arrived({r, kStream.transactions[r], row, Clock::kOnTime});
  };
  for (; days < 40; ++days) {
    for (size_t r = 0; r < kRows; ++r) take(r);
    monitor.close({{1, days * features::kDayUs, 1, fold}, true, true}, found);
  }
  size_t r = 0;
  for (auto _ : state) take(r++ % kRows);
  state.SetItemsProcessed(state.iterations());
  state.SetLabel(found.empty() ? "" : found.back().text);
}
void QualityArrived(benchmark::State& state) { feed<Quality>(state); }
void DriftArrived(benchmark::State& state) { feed<Drift>(state); }
BENCHMARK(QualityArrived);
BENCHMARK(DriftArrived);

void BarePass(benchmark::State& state) {
  static const Stream kStream;
  size_t r = 0;
  for (auto _ : state) {
    const float* row = &kStream.rows[r++ % kRows * kColumns];
    float sum = 0;
    for (size_t c = 0; c < kColumns; ++c) sum += row[c];
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BarePass);

}  // namespace
}  // namespace shrike::engine

BENCHMARK_MAIN();
