// The hot path allocates nothing once it is warm: features and scores of a steady stream. Counts through its
// own operator new, which a sanitizer would have to give up, so there it is left out.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "engine/fold/trainer.h"
#include "features/feature_store.h"
#include "tests/engine/support.h"

namespace {
std::atomic<uint64_t> g_allocations{0};
}

void* operator new(size_t size) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace shrike::engine {
namespace {

// The handbook's features, and every kind of expression.
std::string with_expressions() {
  const auto feature = [](const std::string& name, const std::string& body) {
    return "[[features]]\nname = \"" + name + "\"\n" + body + "\n";
  };
  return handbook_15() +
         feature("ratio", "expression = \"amount / max(customer_count_1d, 1) + log(1 + amount)\"") +
         feature("local", "expression = \"hour(time, 'Europe/Paris') * 7 + weekday(time)\"") +
         feature("text", "expression = \"lower(if(amount > 20, 'HIGH', 'Low'))\"") +
         feature("near", "expression = \"distance_km(amount / 3, 2, 40, customer_id % 90)\"") +
         feature("high",
                 "aggregate = \"count\"\nentity = \"customer\"\nwindow = \"7d\"\nwhere = \"text == 'high' or "
                 "amount in [7, 8, 9]\"") +
         feature("texts",
                 "aggregate = \"entropy\"\nentity = \"customer\"\nwindow = \"7d\"\ninput = \"upper(text)\"") +
         feature("slope",
                 "aggregate = \"slope\"\nentity = \"customer\"\nwindow = \"7d\"\ninput = \"amount\"") +
         feature("often",
                 "aggregate = \"share_same\"\nentity = \"customer\"\nwindow = \"7d\"\ninput = \"amount\"") +
         feature("mode", "aggregate = \"mode\"\nentity = \"customer\"\nwindow = \"7d\"\ninput = \"amount\"");
}

TEST(HotPath, FeaturesAndScoresAllocateNothingWhenWarm) {
  const ConfigPtr config = must_parse(with_expressions());
  ASSERT_TRUE(config);
  features::FeatureStore store(config->plan);
  Trainer trainer(config);
  std::vector<float> row(config->columns.size()), scores(1);
  const auto stream = [&](int64_t i) {
    return make_transaction(config->schema(), i, i * 300, i * 7919 % 50, i * 104729 % 80,
                            5 + static_cast<double>(i % 90));
  };
  // Ninety days of a steady stream: every window has been as full as it gets.
  const int64_t warm = 90 * 288;
  const learners::ModelPtr model =
      learners::make_learner("linear", {}, config->columns, 1).value()->snapshot();
  for (int64_t i = 0; i < warm; ++i) store.apply(stream(i), static_cast<uint64_t>(i), row);
  std::vector<features::Transaction> next;
  for (int64_t i = warm; i < warm + 5000; ++i) next.push_back(stream(i));
  const uint64_t before = g_allocations.load();
  for (size_t i = 0; i < next.size(); ++i) {
    store.apply(next[i], static_cast<uint64_t>(warm) + i, row);
    model->score(learners::MatrixView(row, row.size()), scores);
  }
  EXPECT_EQ(g_allocations.load() - before, 0u);
}

}  // namespace
}  // namespace shrike::engine
#endif
