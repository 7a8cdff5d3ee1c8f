// What a hundred different expressions add to a transaction: its features without any, with a hundred of
// arithmetic and conditions, and with a hundred of which a third looks at texts, places and local times. Each
// iteration is one transaction; `ns_each` is what one expression adds.
//
//   build/release/bin/expressions_bench
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <chrono>

#include "features/feature_store.h"

namespace shrike::features {
namespace {

constexpr size_t kExpressions = 100;

Schema schema() {
  Schema made;
  made.fields = {{"id", FieldType::kInteger, 0, -9.2e18, 9.2e18}, {"at", FieldType::kTime}};
  for (const char* name : {"amount", "old_balance", "new_balance", "limit", "lat", "lon", "to_lat", "to_lon"})
    made.fields.push_back({name, FieldType::kNumber, 2, -90, 90});
  for (const char* name : {"email", "country", "category"}) made.fields.push_back({name, FieldType::kText});
  made.time = 1;
  return made;
}

std::vector<Transaction> transactions(const Schema& of) {
  std::vector<Transaction> all(1024);
  for (size_t i = 0; i < all.size(); ++i) {
    Transaction& t = all[i];
    t.reset(of);
    (void)set_integer(of, 0, static_cast<int64_t>(i), t);
    (void)set_integer(of, 1, 1'530'000'000 + static_cast<int64_t>(i) * 61, t);
    for (size_t f = 2; f < 10; ++f)
      (void)set_number(of, f, static_cast<double>(scramble(i * 16 + f) % 18'000) / 100 - 90, t);
    (void)set_text(of, 10, fmt::format("Somebody.{}@{}Mail.com", i, i % 3 == 0 ? "G" : "Hot"), t);
    (void)set_text(of, 11, i % 2 == 0 ? "FR" : "DE", t);
    (void)set_text(of, 12, i % 5 == 0 ? "gas_transport" : "shopping_net", t);
    (void)finish(of, t);
  }
  return all;
}

std::string of_numbers(size_t i) {
  switch (i % 5) {
    case 0:
      return fmt::format("old_balance - amount - new_balance + {}", i);
    case 1:
      return fmt::format("amount / max(limit, {})", i);
    case 2:
      return fmt::format("amount > {} and old_balance < {} or limit == {}", i % 90, i % 70, i);
    case 3:
      return fmt::format("if(amount > {}, amount - limit, 0)", i % 90);
    default:
      return fmt::format("abs(amount - {}) / (1 + abs(limit))", i);
  }
}

std::string of_all_kinds(size_t i) {
  switch (i % 15) {
    case 0:
      return fmt::format("email_domain(email) in ['gmail.com', 'x{}.com']", i);
    case 3:
      return fmt::format("distance_km(lat, lon, to_lat, to_lon + {}) > 100", static_cast<double>(i) / 100);
    case 6:
      return fmt::format("hour(at + {}, 'Europe/Paris')", i);
    case 9:
      return fmt::format("starts_with(category, 'gas') and country != 'X{}'", i);
    case 12:
      return fmt::format("log(1 + abs(amount) + {})", i);
    default:
      return of_numbers(i);
  }
}

std::shared_ptr<const Plan> plan(std::string (*write)(size_t), size_t count) {
  std::vector<FeatureSpec> specs = {{.name = "amount", .input = "amount"}};
  for (size_t i = 0; i < count; ++i) specs.push_back({.name = fmt::format("e{}", i), .input = write(i)});
  PlanOptions options;
  options.zones = [](std::string_view name) {
    return parse_offsets(name, "3600 1521939600:7200 1540688400:3600");
  };
  auto compiled = compile(schema(), specs, options);
  if (!compiled) {
    fmt::print("{}: {}\n", compiled.error().field, compiled.error().reason);
    std::abort();
  }
  return std::make_shared<const Plan>(std::move(*compiled));
}

void transactions_with(benchmark::State& state, std::string (*write)(size_t), size_t count) {
  const auto compiled = plan(write, count);
  FeatureStore store(compiled);
  const std::vector<Transaction> all = transactions(compiled->schema);
  std::vector<float> row(compiled->columns.size());
  size_t i = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (auto _ : state) {
    store.apply(all[i % all.size()], i, row);
    ++i;
    benchmark::DoNotOptimize(row.data());
  }
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
  state.counters["steps"] = static_cast<double>(compiled->program.steps.size());
  if (count > 0)
    state.counters["ns_each"] =
        took.count() / static_cast<double>(state.iterations()) / static_cast<double>(count);
}

void WithoutExpressions(benchmark::State& state) { transactions_with(state, of_numbers, 0); }
BENCHMARK(WithoutExpressions);
void HundredOfNumbers(benchmark::State& state) { transactions_with(state, of_numbers, kExpressions); }
BENCHMARK(HundredOfNumbers);
void HundredOfAllKinds(benchmark::State& state) { transactions_with(state, of_all_kinds, kExpressions); }
BENCHMARK(HundredOfAllKinds);

}  // namespace
}  // namespace shrike::features

BENCHMARK_MAIN();
