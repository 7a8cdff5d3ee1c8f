// What the fold tells those who judge over it (engine/lifecycle): every transaction as it came, as it was
// answered, and as its label settled; and how they speak. Plain data; views are valid during the call.
//
// Order: arrived(), settled() and labelled() come in the order of the log among themselves, and so does
// scored(); how the two interleave depends on the batch. Between two calls of close() nothing may depend on
// it: keep what comes by the one apart from what comes by the other, and join them in close().
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include <tl/expected.hpp>

#include "engine/fold/event.h"

namespace shrike::engine {

class Fold;

struct Arrived {
  uint64_t sequence = 0;
  const Transaction& transaction;
  std::span<const float> row;
  Clock clock = Clock::kOnTime;
};

struct Scored {
  uint64_t sequence = 0;
  int64_t time_us = 0;  // event time
  std::span<const float> row;
  const Answer& answer;
  double amount = 0;    // 0 when the schema has none
  uint64_t entity = 0;  // hash of the entity that canary arms go by; 0 without one
};

// A transaction whose verdict is known, or whose silence counts. A verdict that changes settles it again.
struct Settled {
  uint64_t sequence = 0;
  int64_t time_us = 0;   // the transaction's event time
  int64_t known_us = 0;  // when its verdict was known
  Verdict verdict = Verdict::kLegitimate;
  Source source = Source::kMatured;
  bool corrected = false;  // it was settled otherwise before
  double weight = 1;       // how many transactions like it it stands for: inverse propensity, capped
  std::span<const float> row;
  const Answer& answer;
  double amount = 0;
  uint64_t entity = 0;
};

// A label as it came.
struct Labelled {
  const LabelEvent& event;
  const LabelState& state;         // after it
  const Answer* answer = nullptr;  // to its transaction; null when nobody knows
  int64_t time_us = 0;             // of its transaction
};

struct Moment {
  uint64_t sequence = 0;      // of the last event
  int64_t now_us = 0;         // event time
  uint64_t transactions = 0;  // so far
  const Fold& fold;
};

class Watch {
 public:
  virtual ~Watch() = default;
  virtual void arrived(const Arrived& arrived) = 0;
  virtual void scored(const Scored& scored) = 0;
  virtual void settled(const Settled& settled) = 0;
  virtual void labelled(const Labelled& labelled) = 0;
  // A KPI was reported; in one order with arrived(), settled() and labelled().
  virtual void kpi(const KpiEvent&) {}
  // A model took over, or a candidate was refused.
  virtual void model(const ModelEvent& event, const Fold& fold) = 0;
  // The server measured itself; all that came so far is answered.
  virtual void machine(const MachineEvent&, const Moment&) {}
  // All that came so far is answered: at a fixed number of transactions and at each hour of event time.
  virtual void close(const Moment& moment) = 0;
  // The oldest judgement that was made and is not yet in the log; null for none.
  virtual const JudgementEvent* next() const = 0;
  // A judgement is in the log: what next() gave, or by hand.
  virtual void judged(const JudgementEvent& event) = 0;
  // Where all that judge stand, as JSON text: an object by name.
  virtual std::string report() const { return "{}"; }
  virtual void save(const std::function<void(std::string)>& sink) const = 0;
  virtual tl::expected<void, std::string> restore(std::string_view piece) = 0;
};

}  // namespace shrike::engine
