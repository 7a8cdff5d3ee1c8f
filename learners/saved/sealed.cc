#include "learners/saved/sealed.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <cstring>

namespace shrike::learners {
namespace {

// Bytes 0..7 magic, 8 kind, 9 length of the family's name, 10..13 version, 14..21 length of the
// payload, 22..29 checksum of all before it and all after it; then name and payload. Little-endian.
constexpr char kMagic[8] = {'S', 'H', 'R', 'I', 'K', 'E', 'M', '1'};
constexpr size_t kChecksumAt = 22, kHeaderBytes = 30;

uint64_t checksum(std::string_view bytes) {
  const uint64_t head = XXH3_64bits(bytes.data(), kChecksumAt);
  return XXH3_64bits_withSeed(bytes.data() + kHeaderBytes, bytes.size() - kHeaderBytes, head);
}

tl::unexpected<Error> damaged(std::string reason) {
  return tl::make_unexpected(Error{ErrorCode::kDamaged, "", std::move(reason)});
}

}  // namespace

std::string seal(SealedKind kind, std::string_view family, uint32_t version, std::string_view payload) {
  std::string out(kHeaderBytes, '\0');
  std::memcpy(out.data(), kMagic, sizeof(kMagic));
  out[8] = static_cast<char>(kind);
  out[9] = static_cast<char>(family.size());
  std::memcpy(out.data() + 10, &version, sizeof(version));
  const uint64_t length = payload.size();
  std::memcpy(out.data() + 14, &length, sizeof(length));
  out += family;
  out += payload;
  repair_checksum(out);
  return out;
}

bool looks_sealed(std::string_view bytes) {
  return bytes.starts_with(std::string_view(kMagic, sizeof(kMagic)));
}

Result<Sealed> unseal(SealedKind kind, uint32_t version_max, std::string_view bytes) {
  if (bytes.size() < kHeaderBytes || !looks_sealed(bytes)) {
    return damaged("the bytes are not a model or learner of Shrike");
  }
  uint64_t stored = 0, length = 0;
  Sealed sealed;
  std::memcpy(&sealed.version, bytes.data() + 10, sizeof(sealed.version));
  std::memcpy(&length, bytes.data() + 14, sizeof(length));
  std::memcpy(&stored, bytes.data() + kChecksumAt, sizeof(stored));
  const size_t name = static_cast<uint8_t>(bytes[9]);
  if (bytes.size() < kHeaderBytes + name || bytes.size() - kHeaderBytes - name != length) {
    return damaged(fmt::format("the bytes are truncated: {} announced, {} found",
                               kHeaderBytes + name + length, bytes.size()));
  }
  if (stored != checksum(bytes)) return damaged("the checksum does not match: the bytes were changed");
  if (static_cast<uint8_t>(bytes[8]) != static_cast<uint8_t>(kind))
    return damaged("a learner where a model is expected, or the reverse");
  if (sealed.version > version_max) {
    return tl::make_unexpected(
        Error{ErrorCode::kNewerVersion, "",
              fmt::format("version {} was written by a newer Shrike; this one reads up to {}", sealed.version,
                          version_max)});
  }
  sealed.family = bytes.substr(kHeaderBytes, name);
  sealed.payload = bytes.substr(kHeaderBytes + name);
  return sealed;
}

void repair_checksum(std::string& bytes) {
  if (bytes.size() < kHeaderBytes) return;
  const uint64_t sum = checksum(bytes);
  std::memcpy(bytes.data() + kChecksumAt, &sum, sizeof(sum));
}

}  // namespace shrike::learners
