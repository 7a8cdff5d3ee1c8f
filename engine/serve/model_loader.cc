#include "engine/serve/model_loader.h"

#include <string>
#include <string_view>

#include "engine/lifecycle/ab_test_plan.h"
#include "storage/find_model.h"
#include "storage/store.h"

namespace shrike::engine {

bool ModelLoader::is_for(const Envelope& envelope) {
  const auto* control = envelope.as<asked::Control>();
  if (control == nullptr || envelope.error) return false;
  return control->command == Command::kActivate || control->command == Command::kChallenge ||
         control->command == Command::kTest;
}

void ModelLoader::start(Bell& done) {
  done_ = &done;
  loop_.start({.name = "shrike-models",
               .turn =
                   [this] {
                     EnvelopePtr envelope;
                     if (!asked_.pop(envelope)) return false;
                     if (auto loaded = load(*envelope->as<asked::Control>()); !loaded)
                       envelope->error = loaded.error();
                     loaded_.push(std::move(envelope));
                     done_->ring();
                     return true;
                   },
               .waiting = [this] { return !asked_.empty(); }});
}

void ModelLoader::push(EnvelopePtr envelope) {
  asked_.push(std::move(envelope));
  loop_.ring();
}

Result<void> ModelLoader::load(asked::Control& control) const {
  const bool is_tested = control.command == Command::kTest;
  constexpr std::string_view kAnyway = " anyway";
  control.anyway = !is_tested && control.argument.ends_with(kAnyway);
  if (control.anyway) control.argument.resize(control.argument.size() - kAnyway.size());
  const std::string named = is_tested ? model_of_ab_test(control.argument) : control.argument;
  if (is_tested && named.empty()) return {};
  const auto hash = storage::find_model(store_, named);
  if (!hash) return refuse(ErrorCode::kNotFound, "argument", hash.error().reason);
  const auto bytes = store_.get_model(*hash);
  auto model = bytes ? learners::load_model(*bytes)
                     : learners::Result<learners::ModelPtr>(tl::make_unexpected(
                           learners::Error{learners::ErrorCode::kDamaged, "", bytes.error().reason}));
  if (!model || (*model)->columns() != config_->columns) {
    return refuse(ErrorCode::kInvalid, "argument",
                  model ? std::string("the model is for other features") : model.error().reason);
  }
  control.hash = *hash;
  control.model = std::move(*model);
  return {};
}

}  // namespace shrike::engine
