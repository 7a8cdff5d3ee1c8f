// Transactions with what became known of them: how well the champion did before and in the period, what each
// source of labels said, and what each takeover changed. Of more transactions than it may hold it keeps a
// share by a hash of their ids, the same in every run.
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/config/config.h"
#include "engine/diagnosis/evidence.h"

namespace shrike::engine {

class Ledger {
 public:
  static constexpr size_t kLinesMax = 1'000'000;
  static constexpr int64_t kTakeoverDays = 14;

  Ledger(ConfigPtr config, Days reference, Days period, size_t lines_max = kLinesMax);

  // In the order of the log.
  void see(const TransactionEvent& event);
  void see(const LabelEvent& event, int64_t now_us);
  void see(const OutcomeEvent& event);
  void see(const JudgementEvent& event);
  void see(uint64_t sequence, const ModelEvent& event, int64_t now_us);

  // `now_us`: the newest event time; silence of the maturity period tells.
  tl::expected<PerformanceEvidence, std::string> performance(int64_t now_us) const;
  tl::expected<LabelEvidence, std::string> labels(int64_t now_us) const;
  ModelEvidence models(int64_t now_us) const;

 private:
  struct Line {
    int64_t time_us = 0;
    float score = 0, weight = 1;
    std::array<Verdict, kSources> by_source{};
    Verdict current = Verdict::kUnknown;
    bool passes = true;    // its silence tells
    bool stopped = false;  // was to be reviewed or declined
  };
  struct Said {
    int64_t day;  // when it was said
    Verdict verdict;
    Source source;
    float score = -1;  // the champion's of its transaction; less than 0: not known
    float delay_days = -1;
  };
  struct TakeoverSeen {
    Takeover told;
    int64_t time_us;
  };

  bool keeps(const Key& transaction) const;
  void thin_out();
  Line* find(const Key& transaction);
  void apply(Line& line, Source source, Verdict verdict);
  Verdict verdict(const Line& line, int64_t now_us) const;
  template <typename Wanted>
  ScoreFigures figures(int64_t now_us, Wanted&& wanted, double* loss_variance = nullptr) const;
  void find_fall(int64_t now_us, PerformanceEvidence& evidence) const;
  SourceFigures source_figures(Source source) const;
  double traffic(int64_t day) const;
  int64_t flood_from(Source source) const;
  void compare_flood(Source source, SourceFigures& figures) const;

  ConfigPtr config_;
  Days reference_, period_;
  size_t lines_max_;
  double share_ = 1;                          // of transactions, that is kept
  std::map<int64_t, uint64_t> transactions_;  // by day
  std::vector<Line> lines_;
  std::unordered_map<Key, uint32_t, features::KeyHash> place_;
  std::unordered_map<Key, std::vector<Said>, features::KeyHash> early_;  // whose transaction has not come
  std::vector<Said> said_;
  std::array<std::array<uint64_t, 2>, kSources> contradicted_{};
  std::array<bool, kSources> quarantined_{};
  std::vector<TakeoverSeen> takeovers_;
  std::string champion_;
  ModelEvidence counted_;
};

}  // namespace shrike::engine
