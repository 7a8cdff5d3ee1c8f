// What whole-history aggregations keep: exact up to the bound, near beyond, and the same whatever the order.
#include "features/sketch.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <random>
#include <set>

namespace shrike::features {
namespace {

struct Event {
  int64_t value, time_us;
};

std::vector<Event> events(uint32_t seed, size_t n) {
  std::mt19937 random(seed);
  std::vector<Event> made;
  for (size_t i = 0; i < n; ++i)
    made.push_back({static_cast<int64_t>(random() % 100'000), static_cast<int64_t>(random() % (4 * n + 1))});
  return made;
}

template <typename Sketch>
std::string bytes(const Sketch& sketch) {
  std::string out;
  sketch.serialize(out);
  return out;
}

ValueSample sample_of(const std::vector<Event>& events) {
  ValueSample sample;
  for (const Event& event : events) sample.add(event.value, event.time_us);
  return sample;
}

DistinctSketch sketch_of(const std::vector<Event>& events) {
  DistinctSketch sketch;
  for (const Event& event : events) sketch.add(event.value);
  return sketch;
}

TEST(Sketch, MedianIsExactUpToTheBound) {
  std::vector<Event> all = events(1, ValueSample::kExact);
  const ValueSample sample = sample_of(all);
  std::vector<int64_t> values;
  for (const Event& event : all) values.push_back(event.value);
  std::sort(values.begin(), values.end());
  EXPECT_EQ(sample.twice_median(), values[values.size() / 2 - 1] + values[values.size() / 2]);
}

TEST(Sketch, MedianIsNearTheMiddleBeyondTheBound) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    std::vector<Event> all = events(seed, 20'000);
    const ValueSample sample = sample_of(all);
    EXPECT_EQ(sample.size(), ValueSample::kSample);
    std::vector<int64_t> values;
    for (const Event& event : all) values.push_back(event.value);
    std::sort(values.begin(), values.end());
    const auto rank =
        std::lower_bound(values.begin(), values.end(), sample.twice_median() / 2) - values.begin();
    EXPECT_NEAR(static_cast<double>(rank) / static_cast<double>(values.size()), 0.5, 0.125) << seed;
  }
}

TEST(Sketch, DistinctIsExactUpToTheBoundAndNearBeyond) {
  DistinctSketch sketch;
  std::set<int64_t> seen;
  std::mt19937_64 random(3);
  while (seen.size() < 200'000) {
    const auto value = static_cast<int64_t>(random() % 1'000'000);
    sketch.add(value);
    seen.insert(value);
    if (seen.size() <= DistinctSketch::kExact) {
      ASSERT_EQ(sketch.distinct(), static_cast<double>(seen.size()));
    } else {
      ASSERT_NEAR(sketch.distinct() / static_cast<double>(seen.size()), 1, 0.25);
    }
  }
  EXPECT_LE(sketch.bytes(), 1024 * sizeof(uint64_t));
}

RC_GTEST_PROP(Sketch, OrderLeavesNoTrace, (uint32_t seed)) {
  const size_t sizes[] = {300, 512, 513, 514, 800, 3000};
  std::vector<Event> all = events(seed, sizes[seed % 6]);
  if (seed % 3 == 0) all.resize(all.size() / 2), all.insert(all.end(), all.begin(), all.end());  // repeats
  const std::string sample = bytes(sample_of(all)), sketch = bytes(sketch_of(all));
  std::shuffle(all.begin(), all.end(), std::mt19937(seed));
  RC_ASSERT(bytes(sample_of(all)) == sample);
  RC_ASSERT(bytes(sketch_of(all)) == sketch);
}

TEST(Sketch, DamagedBytesAreRefused) {
  const std::string sample = bytes(sample_of(events(4, 600))), sketch = bytes(sketch_of(events(4, 600)));
  for (size_t cut = 0; cut < sample.size(); cut += 37) {
    std::string_view part = std::string_view(sample).substr(0, cut);
    EXPECT_FALSE(ValueSample().parse(part)) << cut;
  }
  for (size_t cut = 0; cut < sketch.size(); cut += 37) {
    std::string_view part = std::string_view(sketch).substr(0, cut);
    EXPECT_FALSE(DistinctSketch().parse(part)) << cut;
  }
  std::string_view whole = sample;
  ValueSample read;
  ASSERT_TRUE(read.parse(whole));
  EXPECT_TRUE(whole.empty());
  EXPECT_EQ(bytes(read), sample);
}

}  // namespace
}  // namespace shrike::features
