#include "tools/row_writer.h"

#include <fmt/format.h>
#include <zlib.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <iterator>

namespace shrike::tools {
namespace {
using features::kDayUs;
constexpr size_t kTextMax = 1 << 18;
}  // namespace

tl::expected<std::unique_ptr<RowWriter>, std::string> RowWriter::open(const std::string& path,
                                                                      engine::ConfigPtr config) {
  const bool gz = path.size() > 3 && path.compare(path.size() - 3, 3, ".gz") == 0;
  const gzFile file = gzopen(path.c_str(), gz ? "wb1" : "wbT");
  if (file == nullptr)
    return tl::make_unexpected(
        fmt::format("{}: {}; choose a place you may write to", path, std::strerror(errno)));
  std::unique_ptr<RowWriter> writer(new RowWriter(file, std::move(config)));
  writer->text_ = "transaction_id,time,label";
  for (const learners::Column& column : writer->config_->columns) {
    writer->text_ += "," + column.name;
  }
  writer->text_ += "\n";
  return writer;
}

RowWriter::~RowWriter() { close(); }

void RowWriter::add(const features::Transaction& transaction, std::span<const float> row, int label) {
  if (midnight_us_ == INT64_MIN) midnight_us_ = transaction.time_us / kDayUs * kDayUs;
  const int64_t since_us = transaction.time_us - midnight_us_;
  const auto out = std::back_inserter(text_);
  const auto& schema = config_->schema();
  text_ += features::text(schema, transaction, schema.id);
  if (since_us % 1'000'000 == 0) {
    fmt::format_to(out, ",{},", since_us / 1'000'000);
  } else {
    fmt::format_to(out, ",{:.6f},", static_cast<double>(since_us) / 1e6);
  }
  if (label >= 0) fmt::format_to(out, "{}", label);
  for (const float value : row) {
    text_ += ',';
    if (!std::isnan(value)) fmt::format_to(out, "{:.9g}", value);
  }
  text_ += '\n';
  if (text_.size() >= kTextMax) write();
}

void RowWriter::write() {
  good_ = good_ && (text_.empty() || gzwrite(file_, text_.data(), static_cast<unsigned>(text_.size())) ==
                                         static_cast<int>(text_.size()));
  text_.clear();
}

bool RowWriter::close() {
  if (file_ == nullptr) return good_;
  write();
  good_ = gzclose(file_) == Z_OK && good_;
  file_ = nullptr;
  return good_;
}

}  // namespace shrike::tools
