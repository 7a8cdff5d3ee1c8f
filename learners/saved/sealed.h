// The envelope of serialised learners and models: magic, kind, family, version, length, checksum. Damaged,
// truncated and newer bytes are refused before any payload is read. Plain functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "learners/error.h"

namespace shrike::learners {

enum class SealedKind : uint8_t { kModel = 1, kLearner = 2 };

struct Sealed {
  std::string family;
  uint32_t version = 0;
  std::string_view payload;  // into the bytes that were opened
};

std::string seal(SealedKind kind, std::string_view family, uint32_t version, std::string_view payload);
Result<Sealed> unseal(SealedKind kind, uint32_t version_max, std::string_view bytes);
// Whether bytes begin as seal()'s do.
bool looks_sealed(std::string_view bytes);
// Recomputes the checksum in place: lets a fuzzer reach what lies behind it.
void repair_checksum(std::string& bytes);

}  // namespace shrike::learners
