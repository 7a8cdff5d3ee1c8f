// The gate: may a candidate take over from the champion? It judges both on the same recent labelled
// transactions, which neither has trained on, with a paired bootstrap rather than a bare comparison. What it
// asks grows with what the champion stands for: little while that learned from few examples, and up to the
// configuration's figures. A champion that learned from none yields to whoever is shown to know more than the
// bare share of frauds. Plain functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "engine/config/config.h"

namespace shrike::engine {

enum class GateVerdict { kAccept, kReject, kContinue };  // kContinue: not enough evidence yet

struct GateResult {
  GateVerdict verdict = GateVerdict::kContinue;
  std::string report;  // JSON: figures of both, and the reason
};

// What the two have learned from.
struct TrialStanding {
  std::optional<uint64_t> champion_examples;  // none: made elsewhere, or by people's word: settled
  bool champion_learned = true;               // false: the prior, or one made without labels
  uint64_t candidate_examples = UINT64_MAX;
};

// What the gate asks of a trial.
struct Demands {
  uint64_t examples_min = 0, frauds_min = 0;
  uint64_t examples_max = 0;  // with twice frauds_min frauds: undecided means refused
  double settled = 1;         // 0 .. 1: the champion, of what the configuration's figures are made for
};
Demands demands(const GateConfig& gate, const TrialStanding& standing);

// Scores are calibrated probabilities; labels 1 for fraud; weights say how many transactions each stands for;
// all four of one length. Deterministic for a seed.
GateResult judge(const GateConfig& gate, std::span<const float> champion, std::span<const float> candidate,
                 std::span<const uint8_t> labels, std::span<const float> weights, uint64_t seed,
                 const TrialStanding& standing = {});

}  // namespace shrike::engine
