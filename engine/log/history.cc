#include "engine/log/history.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "storage/store.h"

namespace shrike::engine {
namespace {
constexpr size_t kRecentMax = 4096;
}

Result<std::optional<Recorded>> StoreHistory::find(const Key& transaction) {
  if (before_look_up) before_look_up();
  const auto unreadable = [](const storage::Error& error) {
    spdlog::error("looking up a transaction: {}", error.reason);
    return refuse(ErrorCode::kStorage, "",
                  "the log cannot be read, so whether this is a duplicate is unknown");
  };
  const storage::Key key = to_bytes(transaction);
  const auto sequence = store_.find_transaction(key);
  if (!sequence) return unreadable(sequence.error());
  if (!*sequence) return std::nullopt;
  const auto bytes = store_.get_event(**sequence);
  if (!bytes) {
    if (bytes.error().code == storage::ErrorCode::kNotFound && **sequence < store_.first_sequence())
      return Recorded{.sequence = **sequence, .expired = true};
    return unreadable(bytes.error());
  }
  auto event = decode_event(plan_->schema, *bytes);
  if (!event || !std::holds_alternative<TransactionEvent>(*event)) {
    return unreadable(
        {storage::ErrorCode::kCorrupt, fmt::format("event {} is not a transaction", **sequence)});
  }
  Recorded recorded{**sequence, std::move(std::get<TransactionEvent>(*event)), {}};
  if (const auto recent = recent_.find(transaction); recent != recent_.end()) {
    recorded.labels = recent->second.state;
  } else {
    const auto label = store_.find_label(key);
    if (!label) return unreadable(label.error());
    if (*label) recorded.labels = decode_label_state(**label);
  }
  return recorded;
}

void StoreHistory::remember(const Key& transaction, const LabelState& state, uint64_t sequence,
                            uint64_t committed) {
  if (recent_.size() >= kRecentMax)
    std::erase_if(recent_, [&](const auto& one) { return one.second.sequence <= committed; });
  recent_[transaction] = {state, sequence};
}

}  // namespace shrike::engine
