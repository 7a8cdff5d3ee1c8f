// The gate: may a candidate take over from the champion? It judges both on the same recent labelled
// transactions, which neither has trained on, with a paired bootstrap rather than a bare comparison. Plain
// functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "engine/config/config.h"

namespace shrike::engine {

enum class GateVerdict { kAccept, kReject, kContinue };  // kContinue: not enough evidence yet

struct GateResult {
  GateVerdict verdict = GateVerdict::kContinue;
  std::string report;  // JSON: figures of both, and the reason
};

// Scores are calibrated probabilities; labels 1 for fraud; weights say how many transactions each stands for;
// all four of one length. Deterministic for a seed.
GateResult judge(const GateConfig& gate, std::span<const float> champion, std::span<const float> candidate,
                 std::span<const uint8_t> labels, std::span<const float> weights, uint64_t seed);

}  // namespace shrike::engine
