// The loaders of models and learners, with the checksum as it came and repaired, so that what lies behind it
// is reached.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "learners/envelope.h"
#include "learners/learner.h"

using namespace shrike::learners;

namespace {

void try_all(std::string_view bytes) {
  if (auto model = load_model(bytes)) {
    const size_t columns = (*model)->columns().size();
    if (columns == 0 || columns > 10'000) return;
    std::vector<float> rows(columns * 20), out(20);
    for (size_t i = 0; i < rows.size(); ++i)
      rows[i] = i % 5 == 0 ? NAN : i % 7 == 0 ? INFINITY : static_cast<float>(i) - 30;
    (*model)->score({rows, columns}, out);
    for (const float p : out) {
      if (!(p > 0 && p < 1)) std::abort();
    }
    if (!load_model(serialize(**model))) std::abort();
  }
  const std::vector<Column> columns = {{"a", ColumnKind::kNumeric}, {"b", ColumnKind::kCategorical}};
  if (auto learner = load_learner(bytes, {{"hash_bits", int64_t{4}}}, columns, 1))
    (void)(*learner)->snapshot();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  try_all(bytes);
  repair_checksum(bytes);
  try_all(bytes);
  try_all(seal(SealedKind::kModel, "linear", 1, bytes));
  try_all(seal(SealedKind::kModel, "prior", 1, bytes));
  try_all(seal(SealedKind::kLearner, "linear", 1, bytes));
  return 0;
}
