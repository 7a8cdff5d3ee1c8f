// A learner: mutable, learns from labelled rows, gives immutable models. One thread owns it; it knows no
// clock, socket, file or thread, so its state after k examples is a function of the examples, the options and
// the seed. Learners never serve.
//
// A new family is one .cc file and one line in registry.cc, and passes tests/learners/conformance_test.cc.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "learners/error.h"
#include "learners/matrix.h"
#include "learners/model.h"
#include "learners/workers.h"

namespace shrike::learners {

class Learner {
 public:
  virtual ~Learner() = default;

  virtual std::string_view family() const = 0;
  virtual const std::vector<Column>& columns() const = 0;

  // Learns from the rows in order: labels[i] is 1 for fraud, 0 for legitimate; weights[i] >= 0. A batch gives
  // the same state, to the bit, as its rows one at a time. `keys[i]` is the example's identity (the
  // transaction's sequence number): sampling decides by it, never by a generator's state.
  virtual void partial_fit(MatrixView rows, std::span<const float> labels, std::span<const float> weights,
                           std::span<const uint64_t> keys) = 0;

  // From now on it may learn on these threads; null: on the caller's alone, as at first. They outlive it.
  virtual void use(Workers*) {}
  // The margin of one row as the learner stands, without compiling a model; nothing when it has no such form.
  virtual std::optional<double> live_margin(std::span<const float>) const { return std::nullopt; }

  // Goes on from a model made elsewhere as if it were its own; an error when it cannot.
  virtual Result<void> adopt(const Model&) {
    return tl::make_unexpected(
        Error{ErrorCode::kMismatch, "", "only boosting goes on from a model made elsewhere"});
  }

  // Whether it learns from transactions as they are scored, before any label: then observe() gets every one.
  virtual bool observes() const { return false; }
  // The rows in order, with the keys of partial_fit(). How calls interleave with partial_fit() leaves no
  // trace.
  virtual void observe(MatrixView, std::span<const uint64_t>) {}
  // A model of what was observed alone, for the days before any fraud is known; null while there is none.
  virtual ModelPtr cold_snapshot() const { return nullptr; }

  // An immutable copy that scores as the learner stands, calibrated on what it predicted before it
  // learned each example (progressive validation).
  virtual ModelPtr snapshot() const = 0;

  // False while a snapshot is not worth judging: it has seen too little to tell one row from another.
  virtual bool ready() const = 0;
  // For people: what it needs before it is ready, such as "300 of the 5000 examples of bin_sample came"; ""
  // when it is.
  virtual std::string waits_for() const = 0;

  // Examples seen by partial_fit, whether sampled or not.
  virtual uint64_t examples() const = 0;
  virtual size_t state_bytes() const = 0;

  // State as versioned, checksummed bytes; a learner loaded from them continues to identical weights.
  virtual std::string save() const = 0;
};

// One option of a family, as the configuration gives it.
using OptionValue = std::variant<bool, int64_t, double, std::string>;
using Options = std::map<std::string, OptionValue, std::less<>>;

// What a family accepts, for validation, `check-config` and suggestions.
struct OptionInfo {
  std::string name;
  OptionValue default_value;
  std::string allowed;  // such as "number in (0, 10]"
  std::string help;
};

struct FamilyInfo {
  std::string name;
  std::string summary;
  std::vector<OptionInfo> options;
  bool needs_labels = true;  // false: it ranks by what is unusual; labels only calibrate it
};

// The registered families, in a fixed order.
const std::vector<FamilyInfo>& families();

// A fresh learner. Unknown families and options, and values out of range, are errors that name the option.
Result<std::unique_ptr<Learner>> make_learner(std::string_view family, const Options& options,
                                              std::vector<Column> columns, uint64_t seed);

// A learner from save()'s bytes. The options and columns must be those it was made with (kMismatch
// otherwise).
Result<std::unique_ptr<Learner>> load_learner(std::string_view bytes, const Options& options,
                                              std::vector<Column> columns, uint64_t seed);

}  // namespace shrike::learners
