#include "engine/wire/request.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iterator>

namespace shrike::engine {
namespace {

constexpr std::string_view kCommandNames[] = {"status", "activate", "judge", "challenge", "test"};

}  // namespace

std::string_view name(Command command) { return kCommandNames[static_cast<size_t>(command)]; }

Result<Command> parse_command(std::string_view text) {
  for (size_t i = 0; i < std::size(kCommandNames); ++i) {
    if (text == kCommandNames[i]) return static_cast<Command>(i);
  }
  return refuse(ErrorCode::kInvalid, "command",
                fmt::format("allowed are {}", fmt::join(kCommandNames, ", ")));
}

const Transaction* Envelope::transaction() const {
  if (const auto* score = as<asked::Score>()) return &score->event.transaction;
  if (const auto* label = as<asked::Label>()) return &label->named;
  if (const auto* outcome = as<asked::Outcome>()) return &outcome->named;
  if (const auto* kpi = as<asked::Kpi>()) return &kpi->named;
  if (const auto* control = as<asked::Control>()) return &control->named;
  return nullptr;
}

void Envelope::reset() {
  peer.address.clear();
  peer.delimited = peer.feedback_socket = duplicate = replied = false;
  sequence = 0;
  taken_us = handed_us = written_us = 0;
  error.reset();
  record.clear();
  if (auto* score = as<asked::Score>()) {
    score->labels = {};
  } else if (auto* label = as<asked::Label>()) {
    label->request = {};
    label->result = {};
  } else if (auto* outcome = as<asked::Outcome>()) {
    outcome->request = {};
    outcome->result = {};
  } else if (auto* kpi = as<asked::Kpi>()) {
    kpi->request = {};
    kpi->result = {};
  } else if (auto* control = as<asked::Control>()) {
    control->argument.clear();
    control->hash.clear();
    control->model.reset();
    control->text.clear();
  }
}

}  // namespace shrike::engine
