// Learns a learner anew from the log, beside the one that goes on learning: the examples are those that the
// fold makes of the events up to a sequence number, as they came then, so the same log gives the same model.
// Rows are those that were logged. A function of the store: any thread, at any time, for as long as it takes.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "engine/config/config.h"
#include "engine/fold/fold.h"

namespace shrike::storage {
class Store;
}

namespace shrike::engine {

// Why it came to nothing, and so what may help.
enum class RetrainFailure : uint8_t {
  kData,         // the log cannot be read, or a part of it
  kMemory,       // the next try keeps half of the legitimate examples
  kConvergence,  // scores are no probabilities: the next try leaves out rows with values beyond float's sense
  kValidation,   // too few examples, or it is no better than the base rate: the champion stays
  kStopped,      // the server ends; it is done again at the next start
};
std::string_view name(RetrainFailure failure);

struct RetrainError {
  RetrainFailure failure = RetrainFailure::kData;
  std::string reason;
};

struct Retrained {
  ModelEvent event;  // kRetrained, with the report: why, range and hash of the data, options, metrics
  learners::ModelPtr model;
  std::string bytes;
};

// For tests: called with the number of the try, before the examples are read and before a model is made of
// them; may throw std::bad_alloc, or change the rows.
struct RetrainFaults {
  std::function<tl::expected<void, RetrainError>(uint64_t attempt)> before_reading;
  std::function<void(uint64_t attempt, std::vector<float>& rows)> before_learning;
};

// One try. `attempt` counts from 1.
tl::expected<Retrained, RetrainError> retrain(const ConfigPtr& config, storage::Store& store,
                                              const Fold::Retraining& asked, uint64_t attempt,
                                              const std::atomic<bool>& stop,
                                              const RetrainFaults& faults = {});

}  // namespace shrike::engine
