#include "engine/history.h"

#include <spdlog/spdlog.h>

#include "storage/store.h"

namespace shrike::engine {
namespace {
constexpr size_t kRecentMax = 4096;
}

std::optional<Recorded> StoreHistory::find(const Key& transaction) {
  if (before_look_up) before_look_up();
  const storage::Key key = to_bytes(transaction);
  const auto sequence = store_.find_transaction(key);
  if (!sequence) {
    spdlog::error("looking up a transaction: {}", sequence.error().reason);
    return std::nullopt;
  }
  if (!*sequence) return std::nullopt;
  const auto bytes = store_.get_event(**sequence);
  if (!bytes) return std::nullopt;
  auto event = decode_event(plan_->schema, *bytes);
  if (!event || !std::holds_alternative<TransactionEvent>(*event)) return std::nullopt;
  Recorded recorded{**sequence, std::move(std::get<TransactionEvent>(*event)), {}};
  if (const auto recent = recent_.find(transaction); recent != recent_.end()) {
    recorded.labels = recent->second.state;
  } else if (const auto label = store_.find_label(key); label && *label) {
    recorded.labels = decode_label_state(**label);
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
