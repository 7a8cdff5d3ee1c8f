// The decision policy: from score and amount to risk, decision and reason codes; and how a row gets its score
// when models fail. Plain functions; deterministic.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/config/config.h"
#include "engine/fold/event.h"
#include "learners/model.h"

namespace shrike::engine {

// A model and its name, ready to score.
struct NamedModel {
  ModelId id{};
  learners::ModelPtr model;
};

// Risk and decision for a score. `amount` is NaN or 0 when the schema has none.
void decide(const PolicyConfig& policy, const Thresholds& thresholds, double amount, Answer& answer);
inline void decide(const PolicyConfig& policy, double amount, Answer& answer) {
  decide(policy, {policy.review_score, policy.decline_score}, amount, answer);
}

// Whether what got this decision gets no label by itself: it did not go through.
bool hides(const PolicyConfig& policy, Decision decision);

// Whether a transaction that got this answer, with this outcome, went through: whether its silence tells.
bool went_through(const Answer& answer, Outcome outcome);

// From 0 to 1, by a seeded hash of the transaction's key: the same in every run, and independent under
// another seed.
double draw(const Key& transaction, uint64_t seed);

// Lets a share of would-be declines through as the control group, by draw(), and says with which chance a
// transaction like it goes through. After decide().
void let_through(const Config& config, const Key& transaction, double amount, Answer& answer);

// Up to policy.reasons_max columns that raised this row's margin most, strongest first.
void give_reasons(const PolicyConfig& policy, const learners::Model& model, std::span<const float> row,
                  Answer& answer, std::vector<double>& scratch);

// The answer when nothing can be scored: the prior probability and the configured decision.
void answer_statically(const Config& config, double amount, Answer& answer);

// Scores one row by the first of `models` that gives a probability; false when none does.
bool score_by_fallback(std::span<const NamedModel> models, std::span<const float> row, size_t columns,
                       Answer& answer);

bool is_probability(float score);

}  // namespace shrike::engine
