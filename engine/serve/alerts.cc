#include "engine/serve/alerts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "engine/serve/clocks.h"
#include "storage/store.h"

namespace shrike::engine {
namespace {

constexpr int kVersion = 1;  // of the file
constexpr int64_t kSaveEveryUs = 60'000'000;
constexpr int kLookEveryMs = 100;

// Either the old bytes or the new ones are there, whatever happens. Returns errno.
int replace_file(const std::string& path, std::string_view text) {
  const std::string fresh = path + ".new";
  const int file = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (file < 0) return errno;
  int error = 0;
  const ssize_t written = write(file, text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size())) error = written < 0 ? errno : ENOSPC;
  if (error == 0 && fdatasync(file) != 0) error = errno;
  close(file);
  if (error == 0 && rename(fresh.c_str(), path.c_str()) != 0) error = errno;
  return error;
}

}  // namespace

Alerts::Alerts(const ConfigPtr& config, std::vector<std::unique_ptr<AlertSink>> sinks,
               const std::string& data_dir, Probe& probe, const AlertPace& pace)
    : pace_(pace),
      probe_(probe),
      path_(data_dir + "/alerts.json"),
      book_(static_cast<Severity>(config->alerts.severity), config->alerts.repeat_us),
      settled_(book_) {
  for (auto& sink : sinks) sinks_.push_back({.to = std::move(sink)});
}

Alerts::~Alerts() { stop(); }

tl::expected<std::unique_ptr<Alerts>, std::string> Alerts::open(const ConfigPtr& config,
                                                                const storage::Store& store,
                                                                const std::string& data_dir, Probe& probe,
                                                                const AlertPace& pace) {
  auto sinks = make_alert_sinks(config->alerts);
  if (!sinks) return tl::make_unexpected(sinks.error());
  std::unique_ptr<Alerts> alerts(new Alerts(config, std::move(*sinks), data_dir, probe, pace));
  if (alerts->sinks_.empty()) return alerts;
  const uint64_t last = store.last_sequence();
  alerts->restore(last);
  alerts->look_back(config->schema(), store, last);
  alerts->passed(last);
  return alerts;
}

// A sink that is new hears of what comes from now on.
void Alerts::restore(uint64_t last) {
  settled_at_ = last;
  for (Sink& sink : sinks_) sink.done = last;
  std::ifstream file(path_);
  if (!file) return;
  const auto saved = nlohmann::json::parse(std::istreambuf_iterator<char>(file), {}, nullptr, false);
  const auto number = [](const nlohmann::json& in, std::string_view key) {
    const auto found = in.is_object() ? in.find(std::string(key)) : in.end();
    return found != in.end() && found->is_number_unsigned() ? std::optional(found->get<uint64_t>())
                                                            : std::nullopt;
  };
  const auto at = number(saved, "at");
  if (number(saved, "version") != kVersion || !at || !saved.contains("sinks") || !saved.contains("open") ||
      !settled_.restore(saved["open"])) {
    spdlog::error("{} cannot be read: alerts of before this start that were not delivered are lost", path_);
    return;
  }
  // A log that was cut back by a repair gives its numbers again.
  settled_at_ = std::min(*at, last);
  for (Sink& sink : sinks_) {
    const auto done = number(saved["sinks"], name(sink.to->kind()));
    if (done) sink.done = std::min(std::max(*done, settled_at_), last);
  }
  book_ = settled_;
}

// What was told and not yet delivered to all, and what was not even taken when the process ended.
void Alerts::look_back(const features::Schema& schema, const storage::Store& store, uint64_t last) {
  uint64_t from = std::max(settled_at_ + 1, store.first_sequence());
  if (last >= from + kLookBack) {
    spdlog::warn("alerts of events {} to {} are not looked for: {} events are looked through", from,
                 last - kLookBack, kLookBack);
    from = last - kLookBack + 1;
  }
  auto cursor = store.read(from);
  while (from <= last) {
    const auto next = cursor.next();
    if (!next || !*next || (*next)->sequence > last) break;
    const auto event = decode_event(schema, (*next)->value);
    if (!event) break;  // recovery tells of it
    const auto* judgement = std::get_if<JudgementEvent>(&*event);
    if (judgement == nullptr) continue;
    if (auto alert = book_.judged((*next)->sequence, *judgement)) wait_in_line(std::move(*alert));
  }
  settle(last);
  if (!waiting_.empty())
    spdlog::info("{} alerts of before this start are not delivered yet", waiting_.size());
}

void Alerts::start() {
  if (sinks_.empty()) return;
  loop_.start({.name = "shrike-alerts",
               .begin = [] { yield_to_requests(); },
               .turn = [this] { return turn(); },
               .waiting = [this] { return !queue_.empty(); },
               .look_every_ms = kLookEveryMs});
}

void Alerts::stop() {
  if (!loop_.running()) return;
  loop_.stop();
  save();
}

std::optional<Alert> Alerts::take(uint64_t sequence, const JudgementEvent& event) {
  std::optional<Alert> alert = book_.judged(sequence, event);
  if (!alert || sinks_.empty()) return alert;
  if (queue_.push(Alert(*alert))) {
    loop_.ring();
    return alert;
  }
  for (const Sink& sink : sinks_) {
    if (std::has_single_bit(counts(sink).dropped.fetch_add(1) + 1))
      spdlog::error("too many alerts at once: {} does not hear of event {}", name(sink.to->kind()), sequence);
  }
  return alert;
}

bool Alerts::turn() {
  if (loop_.stopping() && stop_until_us_ == 0) stop_until_us_ = now_us() + pace_.stop_us;
  const uint64_t passed = passed_.load(std::memory_order_acquire);  // before the queue is emptied
  bool worked = false;
  for (Alert alert; queue_.pop(alert); worked = true) wait_in_line(std::move(alert));
  for (Sink& sink : sinks_) worked |= serve(sink);
  settle(passed);
  if (changed_ || now_us() >= next_save_us_) save();
  return worked;
}

void Alerts::wait_in_line(Alert alert) {
  waiting_.push_back(std::move(alert));
  if (waiting_.size() <= kWaitingMax) return;
  const uint64_t oldest = waiting_.front().id;
  for (Sink& sink : sinks_) {
    if (sink.done >= oldest) continue;
    sink.done = oldest;
    sink.tries = 0;
    if (std::has_single_bit(counts(sink).dropped.fetch_add(1) + 1))
      spdlog::error("{} alerts wait for {}: event {} is dropped", kWaitingMax, name(sink.to->kind()), oldest);
  }
  settled_.told(waiting_.front());
  waiting_.pop_front();
}

// One attempt at the next alert of a sink, if it is time for one; true after it.
bool Alerts::serve(Sink& sink) {
  const auto next = std::find_if(waiting_.begin(), waiting_.end(),
                                 [&](const Alert& alert) { return alert.id > sink.done; });
  if (next == waiting_.end() || sink.finished) return false;
  const int64_t now = now_us();
  const bool stopping = stop_until_us_ != 0;
  if (stopping ? now >= stop_until_us_ : now < sink.next_try_us) return false;
  const int64_t timeout_us = stopping ? std::min(pace_.attempt_us, stop_until_us_ - now) : pace_.attempt_us;
  if (const auto sent = sink.to->send({next->id, alert_text(*next)}, timeout_us); !sent) {
    failed(sink, *next, sent.error());
    return true;
  }
  if (sink.tries > 0) spdlog::info("{} hears of alerts again", name(sink.to->kind()));
  counts(sink).delivered.fetch_add(1);
  sink.done = next->id;
  sink.tries = 0;
  sink.next_try_us = 0;
  changed_ = true;
  return true;
}

void Alerts::failed(Sink& sink, const Alert& alert, const std::string& reason) {
  const std::string_view to = name(sink.to->kind());
  if (stop_until_us_ != 0) {
    sink.finished = true;
    spdlog::warn("alert {} does not reach {} ({}): the next start tries again", alert.id, to, reason);
    return;
  }
  ++sink.tries;
  if (sink.tries >= pace_.tries_max) {
    spdlog::error("alert {} is given up after {} attempts at {} ({}): {}: {}", alert.id, sink.tries, to,
                  reason, alert.fingerprint, alert.judgement.text);
    counts(sink).failed.fetch_add(1);
    sink.done = alert.id;
    sink.tries = 0;
    sink.next_try_us = 0;
    changed_ = true;
    return;
  }
  if (std::has_single_bit(static_cast<unsigned>(sink.tries)))
    spdlog::warn("alert {} does not reach {} ({}): attempt {}", alert.id, to, reason, sink.tries);
  const int doublings = std::min(sink.tries - 1, 30);
  sink.next_try_us = now_us() + std::min(pace_.first_wait_us << doublings, pace_.longest_wait_us);
}

// What no sink needs any more.
void Alerts::settle(uint64_t passed) {
  const auto behind = std::min_element(sinks_.begin(), sinks_.end(),
                                       [](const Sink& a, const Sink& b) { return a.done < b.done; });
  while (!waiting_.empty() && waiting_.front().id <= behind->done) {
    settled_.told(waiting_.front());
    waiting_.pop_front();
  }
  settled_at_ = waiting_.empty() ? std::max(settled_at_, passed) : waiting_.front().id - 1;
}

void Alerts::save() {
  next_save_us_ = now_us() + kSaveEveryUs;
  nlohmann::json sinks = nlohmann::json::object();
  for (const Sink& sink : sinks_) sinks[std::string(name(sink.to->kind()))] = sink.done;
  const nlohmann::json all = {
      {"version", kVersion}, {"at", settled_at_}, {"sinks", std::move(sinks)}, {"open", settled_.save()}};
  const int error = replace_file(path_, all.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
  if (error != 0 && changed_)
    spdlog::warn("{} cannot be written ({}): alerts may be told again after a start", path_, strerror(error));
  changed_ = false;
}

}  // namespace shrike::engine
