// Every stage of a transaction's life, alone: decode, features, score, decide, journal encoding; and
// learning. Each iteration is one transaction. The stream is our own simulation, so the figures need no file.
//
//   build/release/bin/stages_bench
#include <benchmark/benchmark.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/config/config.h"
#include "engine/fold/fold.h"
#include "engine/fold/policy.h"
#include "engine/fold/trainer.h"
#include "engine/log/recovery.h"
#include "engine/wire/wire.h"
#include "storage/store.h"
#include "tools/simulator.h"

namespace shrike::engine {
namespace {

ConfigPtr config() {
  static const ConfigPtr kConfig = [] {
    std::ifstream file(SHRIKE_SOURCE_DIR "/examples/handbook-15.toml");
    std::ostringstream text;
    text << file.rdbuf();
    return *parse_config(text.str(), "handbook-15.toml");
  }();
  return kConfig;
}

// Sixty days at the handbook's scale, as transactions, with rows and labels: what the stages are fed.
struct Stream {
  std::vector<Transaction> transactions;
  std::vector<float> rows;
  std::vector<float> labels;

  static const Stream& get() {
    static const Stream kStream;
    return kStream;
  }

 private:
  Stream() {
    tools::SimulationOptions options;
    options.days = 45;
    tools::Simulator simulator(options);
    std::vector<tools::SimulatedTransaction> day;
    const features::Schema& schema = config()->schema();
    NoExamples nowhere;
    Fold fold(config(), nowhere, nullptr);
    const size_t columns = config()->columns.size();
    while (simulator.next_day(day)) {
      for (const auto& t : day) {
        Transaction made;
        made.reset(schema);
        (void)features::set_integer(schema, 0, t.id, made);
        (void)features::set_integer(schema, 1, t.time_s, made);
        (void)features::set_integer(schema, 2, t.customer, made);
        (void)features::set_integer(schema, 3, t.terminal, made);
        (void)features::set_number(schema, 4, static_cast<double>(t.amount_cents) / 100, made);
        (void)features::finish(schema, made);
        rows.resize(rows.size() + columns);
        fold.fold(made, engine::Clock::kOnTime, std::span(rows).last(columns));
        transactions.push_back(std::move(made));
        labels.push_back(static_cast<float>(t.is_fraud));
      }
    }
  }
};

learners::ModelPtr trained_model() {
  static const learners::ModelPtr kModel = [] {
    const Stream& stream = Stream::get();
    auto learner = learners::make_learner("linear", {}, config()->columns, 1).value();
    std::vector<float> weights(stream.labels.size(), 1);
    std::vector<uint64_t> keys(stream.labels.size());
    learner->partial_fit({stream.rows, config()->columns.size()}, stream.labels, weights, keys);
    return learner->snapshot();
  }();
  return kModel;
}

void DecodeJson(benchmark::State& state) {
  Decoder decoder(config());
  Envelope envelope;
  uint32_t deadline_ms = 0;
  std::vector<std::string> messages;
  for (size_t i = 0; i < 1000; ++i)
    messages.push_back(score_request_json(config()->schema(), Stream::get().transactions[i]));
  size_t i = 0;
  for (auto _ : state)
    benchmark::DoNotOptimize(decoder.score_request(messages[i++ % 1000], envelope, deadline_ms));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(DecodeJson);

void DecodeProtobuf(benchmark::State& state) {
  Decoder decoder(config());
  Envelope envelope;
  uint32_t deadline_ms = 0;
  std::vector<std::string> messages;
  for (size_t i = 0; i < 1000; ++i)
    messages.push_back(score_request_protobuf(config()->schema(), Stream::get().transactions[i]));
  size_t i = 0;
  for (auto _ : state)
    benchmark::DoNotOptimize(decoder.score_request(messages[i++ % 1000], envelope, deadline_ms));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(DecodeProtobuf);

void Features(benchmark::State& state) {
  const Stream& stream = Stream::get();
  std::vector<float> row(config()->columns.size());
  std::unique_ptr<features::FeatureStore> store;
  size_t i = 0;
  for (auto _ : state) {
    if (i == 0) {
      state.PauseTiming();
      store = std::make_unique<features::FeatureStore>(config()->plan);
      state.ResumeTiming();
    }
    store->apply(stream.transactions[i], i, row);
    i = (i + 1) % stream.transactions.size();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(Features);

// Batches of range(0); range(1): the scalar reference or the vector kernel.
void Score(benchmark::State& state) {
  const auto batch = static_cast<size_t>(state.range(0));
  const size_t columns = config()->columns.size();
  const learners::ModelPtr model = trained_model();
  const Stream& stream = Stream::get();
  learners::use_kernel(state.range(1) == 0 ? learners::Kernel::kScalar : learners::Kernel::kAuto);
  std::vector<float> out(batch);
  size_t at = 0;
  for (auto _ : state) {
    model->score({std::span(stream.rows).subspan(at * columns, batch * columns), columns}, out);
    benchmark::DoNotOptimize(out.data());
    at = (at + batch) % (stream.labels.size() - batch);
  }
  learners::use_kernel(learners::Kernel::kAuto);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(Score)->ArgsProduct({{1, 32, 1024}, {0, 1}});

void DecideWithReasons(benchmark::State& state) {
  const Stream& stream = Stream::get();
  const learners::ModelPtr model = trained_model();
  std::vector<double> scratch;
  Answer answer;
  size_t i = 0;
  for (auto _ : state) {
    answer.score = 0.7f;
    decide(config()->policy, 100, answer);
    give_reasons(config()->policy, *model, std::span(stream.rows).subspan(i * 15, 15), answer, scratch);
    benchmark::DoNotOptimize(answer);
    i = (i + 1) % stream.labels.size();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(DecideWithReasons);

void Learn(benchmark::State& state) {
  const Stream& stream = Stream::get();
  const size_t columns = config()->columns.size(), n = stream.labels.size();
  auto learner = learners::make_learner("linear", {}, config()->columns, 1).value();
  std::vector<float> weights(n, 1);
  std::vector<uint64_t> keys(n);
  constexpr size_t kBatch = 256;
  size_t at = 0;
  for (auto _ : state) {
    learner->partial_fit({std::span(stream.rows).subspan(at * columns, kBatch * columns), columns},
                         std::span(stream.labels).subspan(at, kBatch), std::span(weights).first(kBatch),
                         std::span(keys).first(kBatch));
    at = (at + kBatch) % (n - kBatch);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBatch));
}
BENCHMARK(Learn);

void EncodeRecord(benchmark::State& state) {
  TransactionEvent event;
  event.transaction = Stream::get().transactions[0];
  event.row.assign(15, 1.5f);
  std::string out;
  for (auto _ : state) {
    encode(config()->schema(), event, out);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(EncodeRecord);

// Groups of range(0) events; range(1): synced to disk or not.
void Journal(benchmark::State& state) {
  const auto dir = std::filesystem::temp_directory_path() / "shrike-bench-store";
  std::filesystem::remove_all(dir);
  {
    auto store = storage::Store::open(dir.string(), {});
    std::string value(200, 'x');
    uint64_t sequence = 0;
    std::vector<storage::Record> records;
    for (auto _ : state) {
      records.clear();
      for (int64_t i = 0; i < state.range(0); ++i) {
        ++sequence;
        records.push_back({sequence, value, to_bytes({sequence * 7919, sequence})});
      }
      if (!(*store)->append(records, state.range(1) != 0)) state.SkipWithError("append failed");
    }
  }
  std::filesystem::remove_all(dir);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(Journal)->ArgsProduct({{1, 256}, {0, 1}})->UseRealTime();

void FindUnknownTransaction(benchmark::State& state) {
  const auto dir = std::filesystem::temp_directory_path() / "shrike-bench-find";
  std::filesystem::remove_all(dir);
  {
    auto store = storage::Store::open(dir.string(), {});
    std::string value(200, 'x');
    for (uint64_t n = 1; n <= 500'000; n += 1000) {
      std::vector<storage::Record> records;
      for (uint64_t k = n; k < n + 1000; ++k) records.push_back({k, value, to_bytes({0, k})});
      (void)(*store)->append(records, false);
    }
    uint64_t n = 1'000'000;
    for (auto _ : state) benchmark::DoNotOptimize((*store)->find_transaction(to_bytes({0, ++n})));
  }
  std::filesystem::remove_all(dir);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(FindUnknownTransaction);

}  // namespace
}  // namespace shrike::engine

BENCHMARK_MAIN();
