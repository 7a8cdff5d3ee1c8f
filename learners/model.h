// A model: the immutable scoring form of a learner, compiled for SIMD, named by the hash of its content.
// Any number of threads may call any const function at once. Models never learn.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "learners/error.h"
#include "learners/matrix.h"

namespace shrike::learners {

class Model {
 public:
  virtual ~Model() = default;

  // "linear", "prior", …: the family under which the registry finds its loader.
  virtual std::string_view family() const = 0;
  virtual const std::vector<Column>& columns() const = 0;

  // Writes the calibrated probability of fraud of each row to `out` (rows.rows() long). A row's bits depend
  // neither on the batch it is in nor on the instruction set that runs. Allocates nothing. A row with NaN or
  // infinity still gets a finite probability in (0, 1).
  virtual void score(MatrixView rows, std::span<float> out) const = 0;

  // What each column added to the margin (log-odds before calibration) of this row, relative to the base:
  // base + sum(contributions) is the margin. `out` has columns().size() entries. Returns the base.
  virtual double explain(std::span<const float> row, std::span<double> out) const = 0;

  // The margin of one row.
  virtual double margin(std::span<const float> row) const = 0;

  // The log-odds of score() are slope * margin + shift, clipped to [-15, 15]. Not so of an ensemble, which is
  // calibrated by bands of margins: it leaves these two as they are here.
  struct Calibration {
    double slope = 1, shift = 0;
  };
  virtual Calibration calibration() const { return {}; }

  // The tool that trained it, when it was imported: "xgboost" or "lightgbm". Empty for ours.
  virtual std::string_view origin() const { return {}; }

  // The version of payload()'s form: as low as this model allows. One that the first form could not hold has
  // a higher version, so that an earlier Shrike refuses it instead of dropping what it does not know.
  virtual uint32_t version() const { return 1; }
  // The family's own bytes (inside the envelope that serialize() adds).
  virtual std::string payload() const = 0;
};

using ModelPtr = std::shared_ptr<const Model>;

// The bytes of a model: envelope (magic, kind, family, version, length, XXH3 checksum) and payload.
// Equal models give equal bytes.
std::string serialize(const Model& model);

// 32 hex digits: XXH3-128 of serialize(). Two models with one name score alike to the bit.
std::string content_hash(std::string_view serialized_model);

// Reads what serialize() wrote. Damaged, truncated or newer bytes are refused with a reason; no input makes
// it crash or allocate more than a small multiple of the input's size.
Result<ModelPtr> load_model(std::string_view bytes);

// The model that serves before anything was learned: it gives every row the same probability, which is in
// (0, 1).
ModelPtr make_prior_model(std::vector<Column> columns, double probability);

// Chooses the scoring kernels of all models in this process: kAuto takes the widest instruction set the
// machine has. Returns false and changes nothing when the machine lacks the set. A family without a kernel
// for it scores by its scalar one. For tests and `--kernel`; call it before other threads score.
enum class Kernel { kAuto, kScalar, kAvx2, kAvx512 };
bool use_kernel(Kernel kernel);
// The name of what kAuto chose here, such as "AVX3" or "AVX2".
std::string kernel_name();

}  // namespace shrike::learners
