// Sources of labels: who says what a transaction was, and what that is worth. Part of the configuration.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace shrike::engine {

// Who says what a transaction was. Those that the configuration declares besides come behind kMatured; their
// names are in SourceConfig.
enum class Source : uint8_t { kAnalyst, kChargeback, kCustomer, kMatured };
inline constexpr size_t kSources = 8;

// A source of labels.
struct DeclaredSource {
  std::string name;
  double weight = 1;  // its labels are learned as so many
  // Of verdicts that contradict each other the one of the highest precedence counts, of equal ones the
  // newest.
  int precedence = 2;
  enum class Trust : uint8_t {
    kNone,     // its labels are kept, and nothing follows from them
    kChecked,  // until they depart from the others'
    kFull,     // whatever others say
  } trust = Trust::kChecked;
  // How long its labels take on average, as far as is known: what silence is worth until enough of them came
  // to tell. 0: not known.
  int64_t delay_us = 0;
  bool silence = false;  // a transaction about which it has been silent for training.maturity is legitimate
};

// Sources of labels, and when one that departs from the others is quarantined (see lifecycle/sources.h).
struct SourceConfig {
  // By the number that the log has of each, at most kSources; the first ones are Source's.
  std::vector<DeclaredSource> declared = {
      {.name = "analyst"},
      {.name = "chargeback", .silence = true},
      {.name = "customer", .precedence = 1},
      {.name = "matured", .precedence = 0, .trust = DeclaredSource::Trust::kFull},
  };
  bool quarantine = true;
  uint64_t labels_min = 50;  // of a source before it is judged
  double z = 5;              // how many standard errors its fraud labels rank below the other sources'

  const DeclaredSource& of(Source source) const;
  const std::string& name(Source source) const { return of(source).name; }
  tl::expected<Source, std::string> find(std::string_view name) const;
  bool silence_tells() const;      // of any
  int silence_precedence() const;  // the highest of those whose silence tells; 0 for none
  int64_t delay_us() const;        // the longest of those whose silence tells
};

}  // namespace shrike::engine
