#include "tools/bench/hdr_histogram.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sodium.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace shrike::tools::bench {
namespace {

// Of the V2 form; 0x10 says that counts are packed as ZigZag LEB128 with runs of zeros.
constexpr uint32_t kCookie = 0x1c849303 | 0x10, kCompressedCookie = 0x1c849304 | 0x10;

// The place of the highest bit; `value` is not 0.
int magnitude(uint64_t value) { return 63 - std::countl_zero(value); }

template <typename T>
void put_big_endian(std::string& out, T value) {
  for (int shift = static_cast<int>(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8)
    out += static_cast<char>(static_cast<uint64_t>(value) >> shift);
}

// As HdrHistogram has it: at most nine bytes, of which the ninth has eight bits of the number.
void put_zigzag(std::string& out, int64_t value) {
  uint64_t left = (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
  for (int byte = 0; byte < 8 && left >= 0x80; ++byte) {
    out += static_cast<char>(left | 0x80);
    left >>= 7;
  }
  out += static_cast<char>(left);
}

}  // namespace

HdrHistogram::HdrHistogram(int64_t lowest, int64_t highest, int significant_digits)
    : lowest_(lowest),
      highest_(highest),
      digits_(significant_digits),
      unit_magnitude_(magnitude(static_cast<uint64_t>(lowest))),
      min_(std::numeric_limits<int64_t>::max()) {
  // Below this every value has a bucket of its own.
  const auto single = static_cast<uint64_t>(2 * std::llround(std::pow(10, digits_)));
  half_magnitude_ = magnitude(single - 1);
  sub_bucket_count_ = int64_t{2} << half_magnitude_;
  sub_bucket_mask_ = (sub_bucket_count_ - 1) << unit_magnitude_;
  bucket_count_ = 1;
  for (int64_t beyond = sub_bucket_count_ << unit_magnitude_; beyond <= highest_; ++bucket_count_) {
    if (beyond > std::numeric_limits<int64_t>::max() / 2) {
      ++bucket_count_;
      break;
    }
    beyond <<= 1;
  }
  counts_.resize(static_cast<size_t>(bucket_count_ + 1) << half_magnitude_);
}

size_t HdrHistogram::index_of(int64_t value) const {
  const int bucket =
      magnitude(static_cast<uint64_t>(value | sub_bucket_mask_)) - unit_magnitude_ - half_magnitude_;
  const int64_t sub_bucket = value >> (bucket + unit_magnitude_);
  return static_cast<size_t>((int64_t{bucket + 1} << half_magnitude_) + sub_bucket - sub_bucket_count_ / 2);
}

int64_t HdrHistogram::lowest_at(size_t index) const {
  const int bucket = static_cast<int>(index >> half_magnitude_) - 1;
  const auto half = int64_t{1} << half_magnitude_;
  const int64_t within = static_cast<int64_t>(index) & (half - 1);
  if (bucket < 0) return within << unit_magnitude_;
  return (within + half) << (bucket + unit_magnitude_);
}

int64_t HdrHistogram::size_at(size_t index) const {
  const int bucket = std::max(static_cast<int>(index >> half_magnitude_) - 1, 0);
  return int64_t{1} << (bucket + unit_magnitude_);
}

void HdrHistogram::record(int64_t value, uint64_t times) {
  if (times == 0) return;
  value = std::clamp<int64_t>(value, 0, highest_);
  counts_[index_of(value)] += times;
  count_ += times;
  min_ = std::min(min_, value);
  max_ = std::max(max_, value);
}

void HdrHistogram::record_corrected(int64_t value, int64_t interval) {
  record(value);
  for (int64_t missed = value - interval; missed >= interval; missed -= interval) record(missed);
}

void HdrHistogram::add(const HdrHistogram& other) {
  for (size_t i = 0, end = other.used(); i < end; ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
}

void HdrHistogram::reset() {
  std::fill(counts_.begin(), counts_.begin() + static_cast<std::ptrdiff_t>(used()), 0);
  count_ = 0;
  min_ = std::numeric_limits<int64_t>::max();
  max_ = 0;
}

size_t HdrHistogram::used() const { return empty() ? 0 : index_of(max_) + 1; }

int64_t HdrHistogram::min() const { return empty() ? 0 : lowest_at(index_of(min_)); }
int64_t HdrHistogram::max() const { return max_ == 0 ? 0 : highest_at(index_of(max_)); }

double HdrHistogram::mean() const {
  if (empty()) return 0;
  double sum = 0;
  for (size_t i = 0, end = used(); i < end; ++i)
    sum += static_cast<double>(counts_[i]) * static_cast<double>(median_at(i));
  return sum / static_cast<double>(count_);
}

double HdrHistogram::standard_deviation() const {
  if (empty()) return 0;
  const double middle = mean();
  double sum = 0;
  for (size_t i = 0, end = used(); i < end; ++i) {
    const double deviation = static_cast<double>(median_at(i)) - middle;
    sum += static_cast<double>(counts_[i]) * deviation * deviation;
  }
  return std::sqrt(sum / static_cast<double>(count_));
}

int64_t HdrHistogram::at(double percentile) const {
  if (empty()) return 0;
  // The nearest double below makes up for percentages that do not divide exactly.
  const double share = std::nextafter(std::clamp(percentile, 0.0, 100.0), 0.0) / 100;
  const uint64_t wanted =
      std::max<uint64_t>(static_cast<uint64_t>(std::ceil(share * static_cast<double>(count_))), 1);
  uint64_t seen = 0;
  for (size_t i = 0, end = used(); i < end; ++i) {
    seen += counts_[i];
    if (seen >= wanted) return percentile <= 0 ? lowest_at(i) : highest_at(i);
  }
  return max();
}

std::string HdrHistogram::percentile_text(double unit, int ticks) const {
  std::string out =
      fmt::format("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
  double level = 0;
  uint64_t seen = 0;
  for (size_t i = 0, end = used(); i < end; ++i) {
    if (counts_[i] == 0) continue;
    seen += counts_[i];
    const double value = static_cast<double>(highest_at(i)) / unit;
    // One bucket may take several steps; what holds the last value is 100 % and ends it.
    while (100.0 * static_cast<double>(seen) / static_cast<double>(count_) >= level) {
      if (level < 100) {
        out += fmt::format("{:12.{}f} {:.12f} {:10} {:14.2f}\n", value, digits_, level / 100, seen,
                           1 / (1 - level / 100));
        const auto halvings = static_cast<int>(std::log(100 / (100 - level)) / std::log(2)) + 1;
        level += 100 / (ticks * std::pow(2, halvings));
      }
      if (seen == count_) {
        out += fmt::format("{:12.{}f} {:.12f} {:10}\n", value, digits_, 1.0, seen);
        break;
      }
    }
  }
  out += fmt::format("#[Mean    = {:12.{}f}, StdDeviation   = {:12.{}f}]\n", mean() / unit, digits_,
                     standard_deviation() / unit, digits_);
  out += fmt::format("#[Max     = {:12.{}f}, Total count    = {:12}]\n", static_cast<double>(max()) / unit,
                     digits_, count_);
  out += fmt::format("#[Buckets = {:12}, SubBuckets     = {:12}]\n", bucket_count_, sub_bucket_count_);
  return out;
}

// A count after the other; several zeros in a row as minus their number.
std::string HdrHistogram::packed_counts() const {
  std::string out;
  const size_t end = used();
  for (size_t i = 0; i < end;) {
    int64_t zeros = 0;
    while (i < end && counts_[i] == 0) ++zeros, ++i;
    if (zeros > 0) put_zigzag(out, zeros > 1 ? -zeros : 0);
    if (i < end) put_zigzag(out, static_cast<int64_t>(counts_[i++]));
  }
  return out;
}

std::string HdrHistogram::encoded() const {
  const std::string counts = packed_counts();
  std::string plain;
  put_big_endian(plain, kCookie);
  put_big_endian(plain, static_cast<uint32_t>(counts.size()));
  put_big_endian(plain, uint32_t{0});  // normalizing offset
  put_big_endian(plain, static_cast<uint32_t>(digits_));
  put_big_endian(plain, lowest_);
  put_big_endian(plain, highest_);
  put_big_endian(plain, std::bit_cast<uint64_t>(1.0));  // from integers to doubles
  plain += counts;

  uLongf size = compressBound(plain.size());
  std::string packed(size, '\0');
  // Into a buffer of compressBound() it cannot fail but for memory.
  if (compress2(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(plain.data()),
                plain.size(), Z_DEFAULT_COMPRESSION) != Z_OK) {
    throw std::bad_alloc();
  }
  packed.resize(size);
  std::string framed;
  put_big_endian(framed, kCompressedCookie);
  put_big_endian(framed, static_cast<uint32_t>(packed.size()));
  framed += packed;

  std::string text(sodium_base64_ENCODED_LEN(framed.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(text.data(), text.size(), reinterpret_cast<const unsigned char*>(framed.data()),
                    framed.size(), sodium_base64_VARIANT_ORIGINAL);
  text.pop_back();  // the terminating zero
  return text;
}

HdrLog::HdrLog(double unix_s) {
  const auto seconds = static_cast<std::time_t>(unix_s);
  text_ = fmt::format(
      "#[Histogram log format version 1.3]\n"
      "#[BaseTime: {0:.3f} (seconds since epoch)]\n"
      "#[StartTime: {0:.3f} (seconds since epoch), {1:%a %b %d %H:%M:%S} UTC {1:%Y}]\n"
      "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
      unix_s, fmt::gmtime(seconds));
}

void HdrLog::add(const HdrHistogram& interval, double from_s, double to_s, std::string_view tag) {
  if (!tag.empty()) text_ += fmt::format("Tag={},", tag);
  text_ += fmt::format("{:.3f},{:.3f},{:.3f},{}\n", from_s, to_s - from_s,
                       static_cast<double>(interval.max()) / 1e6, interval.encoded());
}

}  // namespace shrike::tools::bench
