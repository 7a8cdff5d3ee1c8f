// What changed in a stream of days: fields and columns against the same weekdays, and an earlier fault in the
// reference.
#include "engine/diagnosis/inputs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

constexpr int64_t kDay = 86400;

// 36 days of the handbook's schema; rows hold what the first columns would: amount, is_weekend.
struct Stream {
  ConfigPtr config = must_parse(handbook_15());
  int64_t begun = config->schema().time_origin_us / features::kDayUs;
  InputReader reader{config, {begun, begun + 27}, {begun + 28, begun + 35}, kNoDay};

  template <typename Change>
  void send(Change&& change) {
    for (int64_t id = 0; id < 36 * 200; ++id) {
      const int64_t day = id / 200;
      TransactionEvent event;
      double amount = 20 + static_cast<double>(id * 7919 % 1000) / 10;
      int64_t terminal = id * 31 % 97;
      change(day, amount, terminal);
      event.transaction =
          make_transaction(config->schema(), id, day * kDay + id % 200 * 400, id % 50, terminal, amount);
      event.row.assign(config->columns.size(), 0);
      event.row[0] = static_cast<float>(amount);
      event.row[1] = (begun + day + 3) % 7 >= 5 ? 1 : 0;  // 1970 began on a Thursday
      reader.see(event);
    }
  }
  const ColumnChange* find(const InputEvidence& evidence, const std::string& column) const {
    const auto found = std::find_if(evidence.changed.begin(), evidence.changed.end(),
                                    [&](const ColumnChange& one) { return one.column == column; });
    return found == evidence.changed.end() ? nullptr : &*found;
  }
};

TEST(InputReader, AWeekendIsNoChange) {
  Stream stream;
  stream.send([](int64_t, double&, int64_t&) {});
  const auto evidence = stream.reader.changes();
  ASSERT_TRUE(evidence) << evidence.error();
  EXPECT_TRUE(evidence->changed.empty()) << evidence->changed[0].column;
  EXPECT_EQ(evidence->a_day, (Pair{200, 200}));
}

TEST(InputReader, AKeyThatNoColumnShowsIsSeenToBeStuck) {
  Stream stream;
  stream.send([](int64_t day, double&, int64_t& terminal) { terminal = day >= 31 ? 5 : terminal; });
  const auto evidence = stream.reader.changes();
  ASSERT_TRUE(evidence) << evidence.error();
  ASSERT_EQ(evidence->changed.size(), 1u);
  EXPECT_EQ(evidence->changed[0].column, "field:terminal_id");
  EXPECT_EQ(evidence->changed[0].value_of, "terminal_id");
  EXPECT_TRUE(evidence->changed[0].stuck);
  EXPECT_EQ(evidence->changed[0].first_day, stream.begun + 31);
  EXPECT_EQ(evidence->changed[0].days, 5);
}

TEST(InputReader, ANewRangeOfAKeyIsNoFault) {
  Stream stream;
  stream.send([](int64_t day, double&, int64_t& terminal) { terminal += day >= 31 ? 100'000 : 0; });
  EXPECT_TRUE(stream.reader.changes().value().changed.empty());
}

TEST(InputReader, AnEarlierFaultIsNotWhatIsUsual) {
  Stream stream;
  stream.send([](int64_t day, double& amount, int64_t&) { amount = 10 <= day && day < 17 ? 0 : amount; });
  EXPECT_TRUE(stream.reader.changes().value().changed.empty()) << "it is over";
  Stream again;
  again.send([](int64_t day, double& amount, int64_t&) {
    amount = (10 <= day && day < 17) || day >= 33 ? 0 : amount;
  });
  const InputEvidence evidence = again.reader.changes().value();
  const ColumnChange* amount = again.find(evidence, "amount");
  ASSERT_NE(amount, nullptr);
  EXPECT_TRUE(amount->stuck) << "though it was so before";
  EXPECT_EQ(amount->common, (Pair{0, 1}));
  EXPECT_EQ(amount->first_day, again.begun + 33);
}

TEST(InputReader, DaysOnWhichAColumnWasDroppedSayNothing) {
  Stream stream;
  stream.send([](int64_t, double& amount, int64_t&) { (void)amount; });
  InputReader reader(stream.config, {stream.begun, stream.begun + 27}, {stream.begun + 28, stream.begun + 35},
                     kNoDay);
  for (int64_t id = 0; id < 36 * 200; ++id) {
    TransactionEvent event;
    event.transaction =
        make_transaction(stream.config->schema(), id, id / 200 * kDay + id % 200 * 400, 1, id % 97, 10);
    event.row.assign(stream.config->columns.size(), 0);
    if (id / 200 >= 30) event.row[2] = std::nanf("");
    reader.see(event);
  }
  ASSERT_EQ(reader.changes().value().changed.size(), 1u);
  reader.dropped(stream.config->columns[2].name, stream.begun + 30);
  EXPECT_TRUE(reader.changes().value().changed.empty());
}

TEST(InputReader, WithoutAWeekThereIsNothingToCompareWith) {
  const ConfigPtr config = must_parse(handbook_15());
  const auto nothing = InputReader(config, {0, 2}, {3, 5}, 0).changes();
  ASSERT_FALSE(nothing);
  EXPECT_NE(nothing.error().find("--from"), std::string::npos) << nothing.error();
}

}  // namespace
}  // namespace shrike::engine
