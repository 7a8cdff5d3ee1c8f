// What a load sends: transactions of a source as requests that the server's own decoder reads, with labels
// between them at their time.
#include "tools/bench/traffic.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "engine/wire/wire.h"
#include "tests/tools/support.h"
#include "tools/bench/reply_reader.h"
#include "tools/json.h"

namespace shrike::tools::bench {
namespace {

struct Sent {
  std::string bytes;
  uint64_t tag;
  bool label;
};

std::vector<Sent> all_of(Supply& supply, size_t most = SIZE_MAX) {
  std::vector<Sent> all;
  Request request;
  while (all.size() < most && !supply.ended()) {
    if (supply.next(request)) {
      all.push_back({std::string(request.bytes), request.tag, request.label});
    } else {
      std::this_thread::yield();
    }
  }
  return all;
}

class TrafficTest : public CommandTest {
 protected:
  std::unique_ptr<Traffic> from_file(const std::string& text, const TrafficOptions& options) {
    auto source = from_csv(config_, file("stream.csv", text));
    EXPECT_TRUE(source) << source.error();
    return std::make_unique<Traffic>(config_, std::move(*source), options);
  }
  engine::ConfigPtr config_ = engine::must_parse(kSmallConfig);
};

TEST_F(TrafficTest, EveryTransactionOfTheSourceIsARequestThatTheServerReads) {
  for (const engine::Format format : {engine::Format::kProtobuf, engine::Format::kJson}) {
    auto traffic = from_file(stream(1000, 60), {.format = format, .labels = false});
    engine::Decoder decoder(config_);
    engine::Envelope envelope;
    uint32_t deadline_ms = 0;
    uint64_t id = 0;
    for (const Sent& sent : all_of(*traffic)) {
      ASSERT_TRUE(decoder.score_request(sent.bytes, envelope, deadline_ms));
      EXPECT_EQ(envelope.format, format);
      EXPECT_EQ(envelope.transaction()->values[0].fixed, static_cast<int64_t>(id));
      EXPECT_EQ(sent.tag, id++);
    }
    EXPECT_EQ(id, 1000u);
    EXPECT_EQ(traffic->problem(), "");
  }
}

TEST_F(TrafficTest, ALabelFollowsItsFraudOnceItsDelayOfEventTimeHasPassed) {
  TrafficOptions options;
  options.format = engine::Format::kJson;
  options.labelling.delayed = true;
  options.labelling.delay = {7'200'000'000, false};
  auto traffic = from_file(stream(100, 600), options);  // every tenth is a fraud, ten minutes apart
  int64_t now_s = 0;
  std::set<int64_t> labelled;
  for (const Sent& sent : all_of(*traffic)) {
    const Json json = from_text(sent.bytes);
    ASSERT_TRUE(json.is_object()) << sent.bytes;
    if (!sent.label) {
      now_s = json["time"];
      continue;
    }
    const int64_t id = json["id"];
    EXPECT_EQ(id % 10, 0);
    EXPECT_EQ(json["is_fraud"], 1);
    EXPECT_EQ(json["time"], 1'700'000'000 + id * 600 + 7200);
    // Between the last transaction before its time and the first from it on.
    EXPECT_LT(now_s, json["time"].get<int64_t>());
    EXPECT_GE(now_s + 600, json["time"].get<int64_t>());
    EXPECT_TRUE(labelled.insert(id).second);
  }
  EXPECT_EQ(labelled.size(), 9u);  // that of 90 would come after the end
}

TEST_F(TrafficTest, ALineThatCannotBeReadEndsItWithTheReason) {
  auto traffic = from_file("id,time,card,amount\n1,1700000000,a,5\n2,soon,a,5\n", {});
  EXPECT_EQ(all_of(*traffic).size(), 1u);
  EXPECT_NE(traffic->problem().find("stream.csv:3"), std::string::npos) << traffic->problem();
}

TEST(SimulatedTraffic, SpeaksTheSchemasNamesAndHasIdsOfItsOwn) {
  const engine::ConfigPtr config = engine::must_parse(engine::example("handbook.toml"));
  auto source = simulated(config, {.seed = 3}, 5000, 10);
  ASSERT_TRUE(source) << source.error();
  features::Transaction transaction;
  int label = -1;
  int64_t last_us = config->schema().time_origin_us + 10 * features::kDayUs;
  for (int64_t i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(*(*source)->next(transaction, label));
    EXPECT_EQ(transaction.values[config->schema().id].fixed, 5000 + i);
    ASSERT_GE(transaction.time_us, last_us);
    last_us = transaction.time_us;
  }
  EXPECT_GT(last_us, config->schema().time_origin_us + 11 * features::kDayUs);
}

TEST(SimulatedTraffic, HasAsManyCustomersAsKeepItsTimeInThePast) {
  features::Schema schema;
  const int64_t thousand_days = 1000 * features::kDayUs;
  EXPECT_EQ(customers_for(schema, 1e6, 0, thousand_days), 5000);
  const int many = customers_for(schema, 36e6, 0, thousand_days);
  EXPECT_GT(many, 5000);
  EXPECT_LT(36e6 / (1.918 * many), 1000);
  EXPECT_GT(customers_for(schema, 36e6, 500, thousand_days), many);
  EXPECT_EQ(customers_for(schema, 36e6, 0, 0), 5000);  // where the origin is not past nothing helps
}

TEST(ReplyReader, ReadsBothFormsAlikeAndRefusesWhatIsNeither) {
  const engine::ConfigPtr config = engine::must_parse(engine::example("handbook.toml"));
  engine::Envelope envelope;
  engine::asked::Score& asked = envelope.become<engine::asked::Score>();
  asked.event.transaction = engine::make_transaction(config->schema(), 42, 100, 7, 3, 25.5);
  asked.event.answer.step = engine::Step::kNoReasons;
  envelope.sequence = 9;
  ReplyReader reader(config);
  for (const engine::Format format : {engine::Format::kJson, engine::Format::kProtobuf}) {
    envelope.format = format;
    envelope.duplicate = true;
    envelope.error.reset();
    std::string bytes;
    engine::encode_reply(*config, envelope, bytes);
    const Reply answer = reader.read(bytes);
    EXPECT_EQ(answer.kind, Reply::Kind::kAnswer);
    EXPECT_TRUE(answer.has_tag);
    EXPECT_EQ(answer.tag, 42u);
    EXPECT_TRUE(answer.duplicate);
    EXPECT_FALSE(answer.off_clock);
    EXPECT_EQ(answer.sequence, 9u);
    EXPECT_EQ(answer.word, "no_reasons");
    envelope.error = engine::Error{engine::ErrorCode::kOverloaded, "", "full"};
    bytes.clear();
    engine::encode_error(*config, envelope, bytes);
    const Reply refusal = reader.read(bytes);
    EXPECT_EQ(refusal.kind, Reply::Kind::kRefusal);
    EXPECT_EQ(refusal.word, "overloaded");
    EXPECT_EQ(refusal.tag, 42u);
  }
  for (const char* bytes : {"", "{", "{}", "\x08\x01", "x"})
    EXPECT_EQ(reader.read(bytes).kind, Reply::Kind::kUnreadable) << bytes;
}

}  // namespace
}  // namespace shrike::tools::bench
