#include "engine/wire/wire.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/wire/event_json.h"
#include "engine/wire/wire.pb.h"
#include "features/feature_store.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

const ConfigPtr& handbook() {
  static const ConfigPtr kConfig = must_parse(handbook_15());
  return kConfig;
}

TransactionEvent& scored(Envelope& envelope) { return envelope.as<asked::Score>()->event; }

Error refused(const std::string& message) {
  Decoder decoder(handbook());
  Envelope envelope;
  uint32_t deadline_ms = 0;
  const auto done = decoder.score_request(message, envelope, deadline_ms);
  EXPECT_FALSE(done) << message.substr(0, 100);
  return done ? Error{} : done.error();
}

std::string json(const std::string& amount, const std::string& id = "1", const std::string& time = "100") {
  return R"({"transaction_id":)" + id + R"(,"time":)" + time +
         R"(,"customer_id":7,"terminal_id":3,"amount":)" + amount + "}";
}

TEST(Decoder, JsonAndProtobufGiveTheSameTransaction) {
  Decoder decoder(handbook());
  Envelope a, b;
  uint32_t deadline_ms = 0;
  ASSERT_TRUE(decoder.score_request(json("57.16"), a, deadline_ms));
  EXPECT_EQ(a.format, Format::kJson);
  const std::string bytes = score_request_protobuf(handbook()->schema(), scored(a).transaction);
  ASSERT_TRUE(decoder.score_request(bytes, b, deadline_ms));
  EXPECT_EQ(b.format, Format::kProtobuf);
  for (size_t i = 0; i < 5; ++i)
    EXPECT_EQ(scored(a).transaction.values[i].fixed, scored(b).transaction.values[i].fixed);
  EXPECT_EQ(scored(a).transaction.id, scored(b).transaction.id);
  EXPECT_EQ(score_request_json(handbook()->schema(), scored(b).transaction), json("57.16"));
}

TEST(Decoder, ExpressionsSeeTheSameWhicheverWayATransactionCame) {
  const ConfigPtr config = must_parse(example("sparkov.toml"));
  ASSERT_TRUE(config);
  Decoder decoder(config);
  Envelope from_json, from_protobuf;
  uint32_t deadline_ms = 0;
  ASSERT_TRUE(decoder.score_request(
      R"({"trans_num":"t1","unix_time":1546301654,"cc_num":7,"merchant":"m","category":"shopping_net","amt":630.5,)"
      R"("dob":"1980-07-24","lat":35.5835,"long":-97.5638,"merch_lat":35.929896,"merch_long":-97.423186})",
      from_json, deadline_ms));
  const features::Transaction& t = scored(from_json).transaction;
  ASSERT_TRUE(decoder.score_request(score_request_protobuf(config->schema(), t), from_protobuf, deadline_ms));
  features::Transaction from_text;
  from_text.reset(config->schema());
  for (size_t f = 0; f < config->schema().fields.size(); ++f) {
    ASSERT_TRUE(
        features::set_from_text(config->schema(), f, features::text(config->schema(), t, f), from_text));
  }
  ASSERT_TRUE(features::finish(config->schema(), from_text));
  std::vector<std::vector<float>> rows;
  for (const features::Transaction* one :
       {&t, static_cast<const features::Transaction*>(&scored(from_protobuf).transaction),
        static_cast<const features::Transaction*>(&from_text)}) {
    features::FeatureStore store(config->plan);
    rows.emplace_back(config->columns.size());
    store.apply(*one, 1, rows.back());
  }
  const auto at = [&](const std::string& column) {
    const auto& names = config->plan->columns;
    return rows[0][static_cast<size_t>(std::find(names.begin(), names.end(), column) - names.begin())];
  };
  EXPECT_EQ(at("age"), 38);
  EXPECT_EQ(at("hour"), 19) << "of the day before, in New York";
  EXPECT_EQ(at("online"), 1);
  EXPECT_NEAR(at("home_km"), 40.55, 0.1);
  for (const auto& row : rows)
    EXPECT_EQ(std::memcmp(row.data(), rows[0].data(), row.size() * sizeof(float)), 0);
}

struct Bad {
  const char* what;
  std::string message;
  ErrorCode code;
  const char* field;
};

TEST(Decoder, BadInputGetsATypedErrorThatNamesTheField) {
  const std::string megabyte(1 << 20, 'a');
  const std::vector<Bad> all = {
      {"empty", "", ErrorCode::kMalformed, ""},
      {"blank", "  \n", ErrorCode::kMalformed, ""},
      {"cut off", R"({"transaction_id":1)", ErrorCode::kMalformed, ""},
      {"a list", "[1,2]", ErrorCode::kMalformed, ""},
      {"noise", "\x01\x02\xff\xfe", ErrorCode::kMalformed, ""},
      {"NaN", json("NaN"), ErrorCode::kMalformed, ""},
      {"infinite", json("1e999"), ErrorCode::kMalformed, ""},
      {"negative", json("-5"), ErrorCode::kInvalid, "amount"},
      {"absurd", json("1e15"), ErrorCode::kInvalid, "amount"},
      {"text for number", json("\"5\""), ErrorCode::kInvalid, "amount"},
      {"list for number", json("[5]"), ErrorCode::kInvalid, "amount"},
      {"boolean for number", json("true"), ErrorCode::kInvalid, "amount"},
      {"null", json("null"), ErrorCode::kMissing, "amount"},
      {"before the epoch", json("5", "1", "-100"), ErrorCode::kInvalid, "time"},
      {"far time", json("5", "1", "9e18"), ErrorCode::kInvalid, "time"},
      {"id too big", json("5", "99999999999999999999"), ErrorCode::kMalformed, ""},
      {"unsigned id", json("5", "18446744073709551615"), ErrorCode::kInvalid, "transaction_id"},
      {"text id", json("5", "\"x\""), ErrorCode::kInvalid, "transaction_id"},
      {"fraction id", json("5", "1.5"), ErrorCode::kInvalid, "transaction_id"},
      {"missing", R"({"transaction_id":1,"time":5,"customer_id":7,"amount":1})", ErrorCode::kMissing,
       "terminal_id"},
      {"unknown", R"({"transaction_id":1,"time":5,"custmer_id":7})", ErrorCode::kUnknownField, "custmer_id"},
      {"a field beside a missing one", R"({"transaction_id":1,"is_fraud":1})", ErrorCode::kMissing, "time"},
      {"twice", R"({"transaction_id":1,"transaction_id":2})", ErrorCode::kInvalid, "transaction_id"},
      {"bad deadline", R"({"transaction_id":1,"deadline_ms":-3})", ErrorCode::kInvalid, "deadline_ms"},
      {"bad UTF-8", "{\"transaction_id\":\"\xff\xfe\"}", ErrorCode::kMalformed, ""},
      {"too large", "{\"x\":\"" + megabyte + "\"}", ErrorCode::kTooLarge, ""},
  };
  for (const Bad& bad : all) {
    SCOPED_TRACE(bad.what);
    const Error error = refused(bad.message);
    EXPECT_EQ(name(error.code), name(bad.code)) << error.reason;
    EXPECT_EQ(error.field, bad.field) << error.reason;
    EXPECT_FALSE(error.reason.empty());
  }
  EXPECT_NE(refused(R"({"custmer_id":7})").reason.find("customer_id"), std::string::npos);
}

TEST(Decoder, BadProtobufIsRefused) {
  Decoder decoder(handbook());
  Envelope envelope;
  uint32_t deadline_ms = 0;
  ASSERT_TRUE(decoder.score_request(json("5"), envelope, deadline_ms));
  wire::ScoreRequest good;
  ASSERT_TRUE(
      good.ParseFromString(score_request_protobuf(handbook()->schema(), scored(envelope).transaction)));
  const auto changed = [&](auto&& change) {
    wire::ScoreRequest request = good;
    change(request);
    return refused(request.SerializeAsString());
  };
  EXPECT_EQ(changed([](auto& r) { r.set_schema(1); }).field, "schema");
  EXPECT_EQ(changed([](auto& r) { r.mutable_values()->RemoveLast(); }).field, "values");
  EXPECT_EQ(changed([](auto& r) {
              r.mutable_values(4)->set_number(std::numeric_limits<double>::quiet_NaN());
            }).field,
            "amount");
  EXPECT_EQ(changed([](auto& r) {
              r.mutable_values(4)->set_number(std::numeric_limits<double>::infinity());
            }).field,
            "amount");
  EXPECT_EQ(changed([](auto& r) { r.mutable_values(4)->set_text("x"); }).field, "amount");
  EXPECT_EQ(changed([](auto& r) { r.mutable_values(0)->Clear(); }).field, "transaction_id");
}

TEST(Decoder, TextsAreCheckedToo) {
  const ConfigPtr clicks = must_parse(example("clicks.toml"));
  Decoder decoder(clicks);
  Envelope envelope;
  uint32_t deadline_ms = 0;
  const auto request = [](const std::string& id) {
    return R"({"click_id":")" + id + R"(","at":1700000000000,"user":"u","item":"i","price":3.5})";
  };
  ASSERT_TRUE(decoder.score_request(request("c-1"), envelope, deadline_ms));
  EXPECT_FALSE(scored(envelope).transaction.values[5].present);
  auto empty = decoder.score_request(request(""), envelope, deadline_ms);
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().field, "click_id");
  auto lengthy = decoder.score_request(request(std::string(5000, 'x')), envelope, deadline_ms);
  ASSERT_FALSE(lengthy);
  EXPECT_EQ(lengthy.error().field, "click_id");
}

TEST(Decoder, LabelsAreChecked) {
  Decoder decoder(handbook());
  Envelope envelope;
  ASSERT_TRUE(decoder.feedback_request(R"({"transaction_id":1,"is_fraud":1,"source":"analyst","time":200})",
                                       envelope));
  ASSERT_NE(envelope.as<asked::Label>(), nullptr);
  EXPECT_EQ(envelope.as<asked::Label>()->request.verdict, Verdict::kFraud);
  EXPECT_EQ(envelope.as<asked::Label>()->request.source, Source::kAnalyst);
  const auto field = [&](const std::string& message) {
    envelope.reset();
    const auto done = decoder.feedback_request(message, envelope);
    EXPECT_FALSE(done) << message;
    return done ? std::string() : done.error().field;
  };
  EXPECT_EQ(field(R"({"transaction_id":1})"), "is_fraud");
  EXPECT_EQ(field(R"({"is_fraud":1})"), "transaction_id");
  EXPECT_EQ(field(R"({"transaction_id":1,"is_fraud":2})"), "is_fraud");
  EXPECT_EQ(field(R"({"transaction_id":1,"is_fraud":1,"source":"gossip"})"), "source");
  EXPECT_EQ(field(R"({"transaction_id":1,"is_fraud":1,"time":"now"})"), "time");
  EXPECT_EQ(field(R"({"transaction_id":1,"is_fraud":1,"amount":3})"), "amount");
}

TEST(Decoder, KpisAreRequestsOfTheirOwn) {
  Decoder decoder(handbook());
  Envelope a, b;
  ASSERT_TRUE(decoder.feedback_request(R"({"transaction_id":7,"kpi":"revenue","value":57.5,"time":200})", a));
  const auto* kpi = a.as<asked::Kpi>();
  ASSERT_NE(kpi, nullptr);
  EXPECT_EQ(kpi->request.name, "revenue");
  EXPECT_EQ(kpi->request.value, 57.5);
  EXPECT_EQ(kpi->request.time_us, handbook()->schema().time_origin_us + 200'000'000);
  wire::LabelRequest request;
  request.mutable_transaction_id()->set_integer(7);
  request.mutable_time()->set_integer(200);
  request.set_kpi("revenue");
  request.set_value(57.5);
  ASSERT_TRUE(decoder.feedback_request(request.SerializeAsString(), b));
  ASSERT_NE(b.as<asked::Kpi>(), nullptr);
  EXPECT_EQ(b.as<asked::Kpi>()->request.transaction, kpi->request.transaction);
  EXPECT_EQ(b.as<asked::Kpi>()->request.time_us, kpi->request.time_us);
  EXPECT_EQ(b.as<asked::Kpi>()->request.value, 57.5);
  std::string reply;
  a.as<asked::Kpi>()->result.sequence = 9;
  encode_reply(*handbook(), a, reply);
  EXPECT_EQ(reply, R"({"transaction_id":7,"status":"stored","seq":9})");
  const auto field = [&](const std::string& message) {
    Envelope envelope;
    const auto done = decoder.feedback_request(message, envelope);
    return done ? std::string("fine") : done.error().field;
  };
  EXPECT_EQ(field(R"({"transaction_id":7,"kpi":"revenue"})"), "value");
  EXPECT_EQ(field(R"({"transaction_id":7,"value":1})"), "kpi");
  EXPECT_EQ(field(R"({"transaction_id":7,"kpi":1,"value":1})"), "kpi");
  EXPECT_EQ(field(R"({"transaction_id":7,"kpi":"revenue","value":"much"})"), "value");
  EXPECT_EQ(field(R"({"transaction_id":7,"kpi":"revenue","value":1,"is_fraud":1})"), "kpi");
  EXPECT_EQ(field(R"({"transaction_id":7,"kpi":"revenue","value":1,"outcome":"approved"})"), "outcome");
  EXPECT_EQ(field(R"({"kpi":"revenue","value":1})"), "transaction_id");
  request.set_value(std::numeric_limits<double>::infinity());
  EXPECT_EQ(field(request.SerializeAsString()), "value");
}

TEST(Decoder, LabelPartsGivenTwiceAreRefused) {
  Decoder decoder(handbook());
  Envelope envelope;
  for (const char* twice : {R"({"transaction_id":1,"transaction_id":2,"is_fraud":1})",
                            R"({"transaction_id":1,"is_fraud":1,"is_fraud":0})",
                            R"({"transaction_id":1,"is_fraud":1,"time":5,"time":6})",
                            R"({"transaction_id":1,"is_fraud":1,"source":"analyst","source":"customer"})"}) {
    envelope.reset();
    const auto done = decoder.feedback_request(twice, envelope);
    ASSERT_FALSE(done) << twice;
    EXPECT_EQ(done.error().reason, "the field is given twice");
  }
  // Two names of one thing are it twice.
  Decoder clicks(must_parse(example("clicks.toml")));
  envelope.reset();
  const auto done =
      clicks.feedback_request(R"({"click_id":"a","transaction_id":"b","is_fraud":1})", envelope);
  ASSERT_FALSE(done);
}

TEST(Decoder, CommandsAreThoseThatHaveAName) {
  Decoder decoder(handbook());
  Envelope envelope;
  ASSERT_TRUE(decoder.feedback_request(R"({"command":"activate","argument":"3f2a"})", envelope));
  const auto* control = envelope.as<asked::Control>();
  ASSERT_NE(control, nullptr);
  EXPECT_EQ(control->command, Command::kActivate);
  EXPECT_EQ(control->argument, "3f2a");
  for (const Command command :
       {Command::kStatus, Command::kActivate, Command::kJudge, Command::kChallenge, Command::kTest})
    EXPECT_EQ(parse_command(name(command)).value(), command);
  for (const char* unknown : {R"({"transaction_id":5,"command":"dance"})", R"({"argument":"3f2a"})"}) {
    const auto done = decoder.feedback_request(unknown, envelope);
    ASSERT_FALSE(done) << unknown;
    EXPECT_EQ(done.error().field, "command");
    EXPECT_EQ(done.error().reason, "allowed are status, activate, judge, challenge, test");
  }
}

TEST(Envelope, ARequestFindsTheMemoryOfTheOneBefore) {
  Decoder decoder(handbook());
  Envelope envelope;
  uint32_t deadline_ms = 0;
  ASSERT_TRUE(decoder.score_request(json("57.16"), envelope, deadline_ms));
  auto& score = *envelope.as<asked::Score>();
  score.event.row.assign(15, 1.0f);
  score.labels.current = Verdict::kFraud;
  envelope.sequence = 7;
  const auto* values = score.event.transaction.values.data();
  const auto* row = score.event.row.data();
  envelope.reset();
  ASSERT_TRUE(decoder.score_request(json("58", "2"), envelope, deadline_ms));
  ASSERT_EQ(envelope.as<asked::Score>(), &score);
  score.event.row.assign(15, 2.0f);
  EXPECT_EQ(score.event.transaction.values.data(), values);
  EXPECT_EQ(score.event.row.data(), row);
  EXPECT_EQ(score.labels.current, Verdict::kUnknown);
  EXPECT_EQ(envelope.sequence, 0u);
}

TEST(Decoder, WhoeverSendsTextIsAnsweredInJson) {
  Decoder decoder(handbook());
  uint32_t deadline_ms = 0;
  const auto form = [&](const std::string& message) {
    Envelope envelope;
    envelope.format = Format::kProtobuf;
    (void)decoder.score_request(message, envelope, deadline_ms);
    return envelope.format;
  };
  EXPECT_EQ(form("[1,2]"), Format::kJson);
  EXPECT_EQ(form("hello"), Format::kJson);
  EXPECT_EQ(form(" \t{\"a\":1}"), Format::kJson);
  EXPECT_EQ(form(std::string("{\"a\":\"\x01\"}")), Format::kJson);
  EXPECT_EQ(form(std::string("\xff\xfe{\0", 4)), Format::kJson);
  Envelope envelope;
  ASSERT_TRUE(decoder.score_request("\xef\xbb\xbf" + json("5"), envelope, deadline_ms))
      << "a byte-order mark";
  // A Protobuf request begins with a tab, and a fingerprint may go on with any byte.
  wire::ScoreRequest request;
  ASSERT_TRUE(
      request.ParseFromString(score_request_protobuf(handbook()->schema(), scored(envelope).transaction)));
  request.set_schema(0x202020202020207bull);
  EXPECT_EQ(form(request.SerializeAsString()), Format::kProtobuf);
  wire::LabelRequest label;
  label.mutable_transaction_id()->set_integer(61);
  label.set_is_fraud(true);
  Envelope labelled;
  ASSERT_TRUE(decoder.feedback_request(label.SerializeAsString(), labelled));
  EXPECT_EQ(labelled.format, Format::kProtobuf);
}

TEST(Decoder, FieldsThatTheSchemaDoesNotNameAreLeftOutOrRefused) {
  const std::string more =
      R"({"channel":"web","transaction_id":1,"time":100,"customer_id":7,"terminal_id":3,"amount":5})";
  Decoder decoder(handbook());
  std::vector<std::pair<std::string, bool>> told;
  decoder.on_unknown_field([&](std::string_view name, bool first) { told.emplace_back(name, first); });
  Envelope envelope;
  uint32_t deadline_ms = 0;
  EXPECT_TRUE(decoder.score_request(more, envelope, deadline_ms));
  EXPECT_TRUE(decoder.score_request(more, envelope, deadline_ms));
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0], std::pair(std::string("channel"), true));
  EXPECT_EQ(told[1], std::pair(std::string("channel"), false));
  const ConfigPtr strict =
      must_parse(with(handbook_15(), "[sockets]", "[sockets]\nunknown_fields = \"refuse\""));
  Decoder refusing(strict);
  const auto done = refusing.score_request(more, envelope, deadline_ms);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::kUnknownField);
  EXPECT_EQ(scored(envelope).transaction.values[0].fixed, 1) << "the id is read, for the refusal";
}

TEST(Encoder, RepliesHaveTheNamesThatScriptsRelyOn) {
  Decoder decoder(handbook());
  Envelope envelope;
  uint32_t deadline_ms = 0;
  ASSERT_TRUE(decoder.score_request(json("57.16", "42"), envelope, deadline_ms));
  scored(envelope).answer = Answer{
      .score = 0.25f, .risk = 14.29, .decision = Decision::kReview, .reasons = {12, 0}, .reason_count = 2};
  envelope.sequence = 9;
  std::string out;
  encode_reply(*handbook(), envelope, out);
  EXPECT_EQ(
      out,
      R"({"transaction_id":42,"score":0.25,"risk":14.29,"decision":"review","reasons":["RISKY_TERMINAL","UNUSUAL_AMOUNT"],)"
      R"("model":"00000000000000000000000000000000","seq":9,"step":"full"})");
  envelope.error = Error{ErrorCode::kInvalid, "amount", "found \"x\""};
  encode_reply(*handbook(), envelope, out);
  EXPECT_EQ(
      out,
      R"({"error":{"code":"invalid_value","field":"amount","reason":"found \"x\""},"transaction_id":42})");
  envelope.error.reset();
  envelope.duplicate = true;
  encode_reply(*handbook(), envelope, out);
  EXPECT_NE(out.find(R"("step":"full","duplicate":true})"), std::string::npos) << out;
}

TEST(ModelJson, HasTheSequenceFirstAndTheReportAsAnObject) {
  ModelEvent event{ModelAction::kRejected, 4000, "3f2a", R"({"reason":"worse","ap_gain":-0.010000})"};
  EXPECT_EQ(model_event_text(7, event), R"({"seq":7,"action":"rejected","model":"3f2a","candidate":4000,)"
                                        R"("report":{"reason":"worse","ap_gain":-0.01}})");
  event.report = "";
  EXPECT_EQ(model_event_json(event).dump(),
            R"({"action":"rejected","model":"3f2a","candidate":4000,"report":null})");
  event.report = "no JSON";
  EXPECT_EQ(model_event_json(event).at("report"), "no JSON");
  event.model = "\xff";
  EXPECT_NE(model_event_text(7, event).find("\"model\":\"\xef\xbf\xbd\""), std::string::npos);
}

}  // namespace
}  // namespace shrike::engine
