// Does a source of labels agree with the others? A share of false labels from one source (a flood of fraud
// labels on honest entities, say) must not carry a bad model through. A source whose fraud labels the
// champion scored far lower than the other sources' is quarantined: its labels are kept, and nothing is
// learned from them, until a person releases it or its newer labels agree again.
//
// What it cannot see: a new kind of fraud that one source alone reports looks the same. So a source is judged
// only where others report frauds too, and the widest-trusted one, chargeback, is never judged by customers'
// labels alone.
#pragma once

#include "engine/lifecycle/monitor.h"

namespace shrike::engine {

class SourceMonitor : public Monitor {
 public:
  explicit SourceMonitor(ConfigPtr config) : config_(std::move(config)) {}

  std::string_view name() const override { return "sources"; }
  void labelled(const Labelled& labelled) override;
  void close(const Period& period, std::vector<JudgementEvent>& found) override;
  void judged(const JudgementEvent& event) override;
  nlohmann::json report() const override;
  std::string save() const override;
  tl::expected<void, std::string> restore(std::string_view bytes) override;

 private:
  // Of a source's fraud labels: the champion's score when it answered, on the scale of the square root (a
  // probability's variance is then about the same everywhere), by a mean that forgets.
  struct Seen {
    double labels = 0, sum = 0, squares = 0;  // of those that count, decayed
    uint64_t all = 0;                         // since the source was last judged otherwise
    uint64_t contradicted = 0;                // by another source
    double mean() const { return labels > 0 ? sum / labels : 0; }
    double variance() const;
  };
  Seen others(size_t than) const;

  ConfigPtr config_;
  std::array<Seen, kSources> seen_{};
  std::array<bool, kSources> quarantined_{};
};

}  // namespace shrike::engine
