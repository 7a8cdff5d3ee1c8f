#include "engine/serve/machine_meter.h"

#include <unistd.h>

#include <chrono>
#include <fstream>

#include "engine/serve/clocks.h"

namespace shrike::engine {
namespace {

// 0 when the system does not tell.
uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t pages = 0, resident_pages = 0;
  file >> pages >> resident_pages;
  return file ? resident_pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

}  // namespace

MachineMeter::MachineMeter(const Probe& probe, int64_t every_us)
    : probe_(probe), every_us_(every_us), began_us_(now_us()), before_(counts()) {}

MachineMeter::Counts MachineMeter::counts() const {
  Counts now{.latency = probe_.latency.counts(), .late = probe_.late_replies.load()};
  for (const auto& errors : probe_.errors) now.refusals += errors.load();
  now.fallbacks = probe_.steps[static_cast<size_t>(Step::kFallback)].load();
  now.statics = probe_.steps[static_cast<size_t>(Step::kStatic)].load();
  return now;
}

std::optional<MachineEvent> MachineMeter::take() {
  const int64_t now_at_us = now_us();
  if (every_us_ == 0 || now_at_us - began_us_ < every_us_) return std::nullopt;
  const Counts now = counts();
  const Histogram::Counts latency = Histogram::since(now.latency, before_.latency);
  MachineEvent event{.time_us = wall_us(),
                     .period_us = now_at_us - began_us_,
                     .answers = Histogram::total(latency),
                     .p50_us = Histogram::quantile(latency, 0.5),
                     .p99_us = Histogram::quantile(latency, 0.99),
                     .p999_us = Histogram::quantile(latency, 0.999),
                     .late = now.late - before_.late,
                     .refusals = now.refusals - before_.refusals,
                     .fallbacks = now.fallbacks - before_.fallbacks,
                     .statics = now.statics - before_.statics,
                     .resident_bytes = resident_bytes(),
                     .examples_waiting = probe_.examples_waiting.load()};
  began_us_ = now_at_us;
  before_ = now;
  if (event.answers == 0 && event.refusals == 0) return std::nullopt;
  return event;
}

void note_reply(Probe& probe, const Envelope& envelope, int64_t now_us) {
  probe.replies.fetch_add(1, std::memory_order_relaxed);
  if (envelope.error)
    probe.errors[static_cast<size_t>(envelope.error->code)].fetch_add(1, std::memory_order_relaxed);
  const auto* score = envelope.as<asked::Score>();
  if (envelope.error || score == nullptr) return;
  probe.latency.add(now_us - envelope.received_us);
  probe.waiting.add(envelope.taken_us - envelope.received_us);
  probe.deciding.add(envelope.handed_us - envelope.taken_us);
  if (envelope.written_us > 0) probe.writing.add(envelope.written_us - envelope.handed_us);
  probe.replying.add(now_us - (envelope.written_us > 0 ? envelope.written_us : envelope.handed_us));
  if (now_us > score->deadline_us) probe.late_replies.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace shrike::engine
