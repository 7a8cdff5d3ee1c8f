// The one scoring path: admission, features, champion, fallback, decision, reasons. A server's engine thread
// and a replay both go through it, so that a replay cannot differ from what was served. Gathers a micro-batch
// of folded transactions and scores it at once. No clock: the caller says how much time each answer has left.
// One owner, the fold's.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "engine/config/config.h"
#include "engine/fold/fold.h"
#include "engine/fold/policy.h"

namespace shrike::engine {

class Scoring {
 public:
  static constexpr int64_t kNoDeadline = std::numeric_limits<int64_t>::max();

  // What an answer may take.
  struct Time {
    Time(int64_t us, bool reasons = true) : left_us(us), for_reasons(reasons) {}
    int64_t left_us;   // until its deadline
    bool for_reasons;  // of the ensemble's they cost as much as a hundred scores
  };

  // Takes the fold's models; see models_changed().
  Scoring(ConfigPtr config, const Fold& fold);

  // The fold's champion is another one from now on. Nothing may be waiting.
  void models_changed(const Fold& fold);
  // Instead of the champion: fills one score for each row. Answers still name the champion.
  using Scorer = std::function<void(learners::MatrixView rows, std::span<float> scores)>;
  void score_by(Scorer scorer) { scorer_ = std::move(scorer); }
  // Reasons for what is not approved; off at first.
  void give_reasons(bool on) { reasons_ = on; }

  // Admits and folds a transaction, whose row then waits to be scored. The earlier record when its id was
  // seen (it may itself still wait: then its answer is not there before score()), an error when it may not
  // enter.
  Result<std::optional<Recorded>> take(Fold& fold, const Transaction& transaction, const ClockSource& clock);

  size_t waiting() const { return waiting_.size(); }
  // Of the newest that waits: its place in the log, and its row (valid until the next take()).
  const Folded& newest() const { return waiting_.back().folded; }
  std::span<const float> newest_row() const;

  // Scores all that waits, in order, and forgets it. `time` says what answer i may take, just before it is
  // made; `answered` gets it with its row; the fold remembers it for duplicates and labels.
  void score(Fold& fold, const std::function<Time(size_t i)>& time,
             const std::function<void(size_t i, std::span<const float> row, const Answer&)>& answered);

 private:
  struct Waiting {
    Folded folded;
    Key id;
    double amount;  // NaN when the schema has none
  };
  // What the models said of a row.
  struct Said {
    float champion;
    float challenger = kNoOther;
  };
  void answer(const Fold& fold, const Said& said, std::span<const float> row, const Waiting& asked,
              const Time& time, Answer& answer);

  ConfigPtr config_;
  size_t columns_;
  NamedModel champion_;
  std::vector<NamedModel> fallbacks_;
  Scorer scorer_;
  bool reasons_ = false;
  std::vector<Waiting> waiting_;
  std::vector<float> rows_, scores_, challenger_scores_;
  std::vector<double> contributions_;
};

}  // namespace shrike::engine
