#include "tools/shop_live.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include <nlohmann/json.hpp>

#include "tools/json.h"

namespace shrike::tools {
namespace {

constexpr int kPatienceMs = 30'000;
constexpr size_t kErrorsShown = 5;

double share(uint64_t of, uint64_t all) {
  return all > 0 ? static_cast<double>(of) / static_cast<double>(all) : 0;
}

}  // namespace

double ShopLive::Day::click_through() const { return share(clicked[0] + clicked[1], shown[0] + shown[1]); }
double ShopLive::Day::click_through(size_t arm) const { return share(clicked[arm], shown[arm]); }

void ShopLive::connect(const std::string& score, const std::string& feedback) {
  score_ = std::make_unique<Client>(
      score, [this](uint64_t offer, std::string_view reply, int64_t us) { on_score(offer, reply, us); });
  feedback_ = std::make_unique<Client>(
      feedback, [this](uint64_t, std::string_view reply, int64_t) { on_feedback(reply); });
}

void ShopLive::note_error(std::string_view reply) {
  if (errors_++ < kErrorsShown) first_errors_.emplace_back(reply);
}

void ShopLive::on_score(uint64_t offer, std::string_view reply, int64_t us) {
  latencies_us_.push_back(us);
  const Json answer = from_text(std::string(reply));
  if (!answer.is_object() || !answer.contains("score")) return note_error(reply);
  scores_[offer] = answer["score"].get<double>();
  arm_ = answer.contains("arm") ? 1 : 0;
}

void ShopLive::on_feedback(std::string_view reply) {
  if (reply.find("\"stored\"") == std::string_view::npos) note_error(reply);
}

bool ShopLive::play(const Visit& visit, Day& day) {
  scores_.fill(0);
  arm_ = 0;
  for (size_t i = 0; i < Visit::kOffers; ++i) score_->send(impression_json(visit, i), i);
  if (!score_->drain(0, kPatienceMs)) return false;
  std::array<size_t, Visit::kOffers> order;
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores_[a] > scores_[b]; });
  for (size_t place = 0; place < order.size(); ++place) {
    const Reaction reaction = shop_.react(visit, order[place], place);
    ++day.shown[arm_];
    day.clicked[arm_] += reaction.clicked;
    if (reaction.clicked) tell(visit, order[place], reaction);
  }
  impressions_ += Visit::kOffers;
  return true;
}

void ShopLive::tell(const Visit& visit, size_t offer, const Reaction& reaction) {
  const int64_t id = visit.impression(offer);
  const int64_t clicked_s = visit.time_s + reaction.clicked_after_s;
  due_.push(
      {clicked_s, told_++,
       fmt::format(R"({{"impression_id":{},"clicked":1,"source":"customer","time":{}}})", id, clicked_s)});
  if (!reaction.bought) return;
  const int64_t bought_s = visit.time_s + reaction.bought_after_s;
  const auto kpi = [&](const char* name, const std::string& value) {
    due_.push({bought_s, told_++,
               fmt::format(R"({{"impression_id":{},"kpi":"{}","value":{},"time":{}}})", id, name, value,
                           bought_s)});
  };
  kpi("bought", "1");
  kpi("revenue", format_amount(visit.offers[offer].price_cents));
}

bool ShopLive::send_due(int64_t now_s) {
  while (!due_.empty() && due_.top().time_s <= now_s) {
    feedback_->send(due_.top().message, 0);
    due_.pop();
  }
  return feedback_->drain(0, kPatienceMs);
}

tl::expected<bool, std::string> ShopLive::next_day(Day& day) {
  day = {};
  std::vector<Visit> visits;
  if (!shop_.next_day(visits)) return false;
  for (const Visit& visit : visits) {
    if (send_due(visit.time_s) && play(visit, day)) continue;
    return tl::make_unexpected(
        std::string("no reply for 30 s; is `shrike serve` running, and are these its endpoints?"));
  }
  return true;
}

}  // namespace shrike::tools
