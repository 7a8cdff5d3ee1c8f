#include "engine/lifecycle/control_group.h"

#include <array>
#include <limits>

#include <nlohmann/json.hpp>

#include "engine/lifecycle/figures.h"
#include "engine/lifecycle/numbers.h"

namespace shrike::engine {
namespace {

constexpr uint32_t kVersion = 1;

int64_t day_of(int64_t time_us) { return start_of_day(time_us) / features::kDayUs; }

// As they are saved.
template <typename Day>
auto numbers(Day& day) {
  return std::array{&day.stopped,      &day.let_through,    &day.stopped_amount, &day.expected_loss,
                    &day.settled,      &day.frauds,         &day.realised_loss,  &day.weight,
                    &day.fraud_weight, &day.weight_squares, &day.loss_weight};
}

}  // namespace

ControlGroup::Day& ControlGroup::Day::operator+=(const Day& other) {
  const auto from = numbers(other);
  auto at = from.begin();
  for (double* number : numbers(*this)) *number += **at++;
  return *this;
}

void ControlGroup::scored(const Scored& scored) {
  const Answer& answer = scored.answer;
  if (answer.wanted == Decision::kApprove || answer.clock != Clock::kOnTime) return;
  Day& day = days_[day_of(scored.time_us)];
  if (answer.control) {
    ++day.let_through;
    day.expected_loss += scored.amount * static_cast<double>(answer.score);
  } else {
    ++day.stopped;
    day.stopped_amount += scored.amount;
  }
}

void ControlGroup::settled(const Settled& settled) {
  if (!settled.answer.control || settled.answer.clock != Clock::kOnTime) return;
  const auto at = days_.find(day_of(settled.time_us));
  if (at == days_.end()) return;
  Day& day = at->second;
  const double weight = settled.weight;
  const double fraud = settled.verdict == Verdict::kFraud ? 1 : 0;
  // A verdict that has changed was the other one.
  const double change = settled.corrected ? 2 * fraud - 1 : fraud;
  if (!settled.corrected) {
    ++day.settled;
    day.weight += weight;
    day.weight_squares += weight * weight;
  }
  day.frauds += change;
  day.fraud_weight += change * weight;
  day.realised_loss += change * settled.amount;
  // It stands for itself, which was let through, and for the others, which were not.
  day.loss_weight += change * settled.amount * (weight - 1);
}

void ControlGroup::close(const Period& period, std::vector<JudgementEvent>&) {
  if (!period.new_day || period.moment.now_us == INT64_MIN) return;
  days_.erase(days_.begin(), days_.lower_bound(day_of(period.moment.now_us) - kDaysKept));
}

ControlGroup::Day ControlGroup::pool(int64_t first_day) const {
  Day pool;
  for (auto at = days_.lower_bound(first_day); at != days_.end(); ++at) pool += at->second;
  return pool;
}

nlohmann::json ControlGroup::json_of(const Day& day) const {
  nlohmann::json out = {{"stopped", day.stopped},
                        {"stopped_amount", short_number(day.stopped_amount)},
                        {"let_through", day.let_through},
                        {"expected_loss", short_number(day.expected_loss)},
                        {"settled", day.settled},
                        {"frauds", day.frauds},
                        {"realised_loss", short_number(day.realised_loss)},
                        {"loss_saved_by_stopping", short_number(day.loss_weight)}};
  if (day.weight <= 0) return out;
  const double share = day.fraud_weight / day.weight;
  const Interval within = share_interval(share, day.weight * day.weight / day.weight_squares);
  out["precision_without_intervention"] = short_number(share);
  out["precision_low"] = short_number(within.low);
  out["precision_high"] = short_number(within.high);
  return out;
}

nlohmann::json ControlGroup::report() const {
  nlohmann::json out = {{"share", config_->control.share}};
  if (days_.empty()) return out;
  out["kept_days"] = json_of(pool(std::numeric_limits<int64_t>::min()));
  out["last_30_days"] = json_of(pool(days_.rbegin()->first - kShown + 1));
  if (config_->control.share == 0) {
    out["notes"] = {
        "Nothing that is declined is let through: labels cannot show whether it was fraud ([control] "
        "share)."};
  }
  return out;
}

std::string ControlGroup::save() const {
  nlohmann::json days = nlohmann::json::array();
  for (const auto& [day, of] : days_) {
    nlohmann::json line = {day};
    for (const double* number : numbers(of)) line.push_back(*number);
    days.push_back(std::move(line));
  }
  return nlohmann::json{{"version", kVersion}, {"days", std::move(days)}}.dump();
}

tl::expected<void, std::string> ControlGroup::restore(std::string_view bytes) {
  const auto damaged = [] { return tl::make_unexpected(std::string("its record is damaged")); };
  const nlohmann::json saved = nlohmann::json::parse(bytes, nullptr, false);
  if (!saved.is_object() || saved.value("version", nlohmann::json()) != kVersion) return damaged();
  const nlohmann::json lines = saved.value("days", nlohmann::json());
  if (!lines.is_array()) return damaged();
  std::map<int64_t, Day> days;
  for (const nlohmann::json& line : lines) {
    Day day;
    const auto to = numbers(day);
    if (!line.is_array() || line.size() != 1 + to.size() || !line[0].is_number_integer()) return damaged();
    size_t i = 0;
    for (double* number : to) {
      if (!line[++i].is_number()) return damaged();
      *number = line[i].get<double>();
    }
    days[line[0].get<int64_t>()] = day;
  }
  days_ = std::move(days);
  return {};
}

}  // namespace shrike::engine
