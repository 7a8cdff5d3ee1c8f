// Probable causes of what a period's evidence shows, ranked. Each is a rule over the evidence: grounds for it
// and against it, each with a weight and a sentence that has its numbers. The score is 1 - product(1 - w) of
// those for it, times product(1 - w) of those against it: several weak grounds make a strong one, and one
// good ground against takes a cause down. What has not been examined speaks neither for nor against. Plain
// functions of the evidence: no file, no clock.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/diagnosis/evidence.h"

namespace shrike::engine {

enum class CauseKind : uint8_t {
  kBrokenFeed,     // subject: a column, or field:NAME
  kChangedFeed,    // alike: it means something else now, or another unit
  kLabelNoise,     // subject: a source
  kMissingLabels,  // subject: a source, or "" for all
  kBadModel,       // subject: a model
  kNewFraud,
  kNewTraffic,
  kAgedModel,
  kStuckTraining,
  kMachine,
  kCrashes,
  kConfiguration,  // or another version of Shrike
};
std::string_view name(CauseKind kind);

// What mends it; those that --fix applies are taken back by the commands in Cause::undo.
enum class Remedy : uint8_t { kNone, kRetrain, kQuarantine, kDropFeature, kRollBack };

struct Ground {
  double weight = 0;
  std::string text;
};

struct Cause {
  CauseKind kind{};
  std::string subject;
  std::string text;
  double score = 0;
  int64_t first_day = kNoDay, last_day = kNoDay;  // of what shows it
  bool goes_on = true;                            // at the end of the period
  std::vector<Ground> grounds, against;
  std::string advice;  // a sentence
  Remedy remedy = Remedy::kNone;
  std::string target;         // of the remedy
  std::string command, undo;  // as they are typed; "" where there is none
};

// From here on a cause is told as probable, and --fix acts on it.
inline constexpr double kProbable = 0.5;
// Below it a cause is not worth telling.
inline constexpr double kWorthTelling = 0.15;

std::vector<Cause> diagnose(const Evidence& evidence);

}  // namespace shrike::engine
