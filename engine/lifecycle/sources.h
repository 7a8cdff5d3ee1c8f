// Does a source of labels agree with the others? A share of false labels from one source (a flood of fraud
// labels on honest entities, say) must not carry a bad model through. A source is quarantined (its labels are
// kept, nothing is learned from them, and what it said of transactions in memory is taken back): its fraud
// labels when
//  - the champion ranked its fraud labels hardly above the day's traffic, and other sources' well above: the
//    area under the ROC curve between a source's fraud labels and all transactions of their day, which does
//    not depend on what a score means, is one half for labels at random; its
//    legitimate ones when
//  - the others call fraud what it called legitimate, at half the rate or more at which the champion expected
//    frauds among it: its word tells nothing then.
// A person releases it, or its newer labels do by agreeing again. A source that has fallen silent is told.
//
// What it cannot see: a new kind of fraud that one source alone reports looks the same as a false one. So a
// source is judged only where others of at least its precedence report frauds too.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "engine/lifecycle/monitor.h"

namespace shrike::engine {

class SourceMonitor : public Monitor {
 public:
  explicit SourceMonitor(ConfigPtr config) : config_(std::move(config)) {}

  std::string_view name() const override { return "sources"; }
  void scored(const Scored& scored) override;
  void labelled(const Labelled& labelled) override;
  void close(const Period& period, std::vector<JudgementEvent>& found) override;
  void judged(const JudgementEvent& event) override;
  nlohmann::json report() const override;
  std::string save() const override;
  tl::expected<void, std::string> restore(std::string_view bytes) override;

 private:
  // Of a source's fraud labels on what was to be approved: the share of such traffic of their day that the
  // champion scored lower, by a mean that forgets.
  struct Frauds {
    double labels = 0, sum = 0, squares = 0;  // of those that count, decayed
    uint64_t all = 0;                         // since the source was last judged otherwise
    double mean() const { return labels > 0 ? sum / labels : 0; }
    double variance() const;
  };
  // Of a day's transactions that a source called legitimate and the champion approved: frauds that the
  // champion expected, and those that another source of at least its precedence found.
  struct Day {
    int64_t day = -1;
    double expected = 0, found = 0;
  };
  static constexpr size_t kDays = 64;
  // A day's scores, by quarters of their powers of two.
  static constexpr size_t kBins = 81;
  struct Traffic {
    int64_t day = -1;
    std::array<uint32_t, kBins> scores{};
  };
  struct Seen {
    Frauds frauds;
    std::array<Day, kDays> legitimate{};  // by the day of their transaction, modulo kDays
    uint64_t contradicted = 0;            // by another source
    double per_day = 0;                   // labels; a mean that forgets
    uint64_t today = 0, quiet_days = 0;   // labels, and days without any before this one
  };
  struct Agreement {
    bool departs = false, agrees = false;  // neither: too little is known
    std::string text;                      // what speaks against it
    double of_mine = 0, of_others = 0, z = 0;
    uint64_t mine = 0, others = 0;
  };

  static bool counts(const Answer& answer);
  bool may_judge(size_t other, size_t source) const;
  Day& day_of(Seen& seen, int64_t time_us) const;
  std::optional<double> rank(float score, int64_t time_us) const;
  Frauds frauds_of_others(size_t than) const;
  Agreement by_frauds(size_t source) const;
  Agreement by_legitimate(size_t source) const;
  void judge(size_t source, std::vector<JudgementEvent>& found);
  void end_day(size_t source, std::vector<JudgementEvent>& found);

  ConfigPtr config_;
  std::array<Seen, kSources> seen_{};
  std::array<bool, kSources> quarantined_{};
  std::array<Suspended, kSources> suspended_{};
  std::array<Traffic, kDays> traffic_{};  // by day, modulo kDays
  int64_t now_us_ = 0;                    // event time
};

}  // namespace shrike::engine
