// shrike models, shrike inspect
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>

#include "engine/history.h"
#include "engine/policy.h"
#include "engine/recovery.h"
#include "engine/wire.h"
#include "learners/import.h"
#include "tools/client.h"
#include "tools/commands.h"
#include "tools/data_dir.h"

namespace shrike::tools {
namespace {

struct Options {
  std::string data = "./shrike-data", model, out, endpoint = "tcp://127.0.0.1:7202", transaction;
  bool json = false;
};

// What the log says of each model, and which one serves.
struct ModelHistory {
  struct Entry {
    uint64_t sequence;
    engine::ModelEvent event;
  };
  std::vector<Entry> entries;
  std::string champion;
};

tl::expected<ModelHistory, std::string> read_history(const DataDir& data) {
  ModelHistory history;
  auto cursor = data.store->read(1);
  while (true) {
    auto next = cursor.next();
    if (!next) return tl::make_unexpected(next.error().reason);
    if (!*next) return history;
    auto event = engine::decode_event(data.config->schema(), (*next)->value);
    if (!event) return tl::make_unexpected(event.error());
    const auto* model = std::get_if<engine::ModelEvent>(&*event);
    if (model == nullptr) continue;
    if (model->action != engine::ModelAction::kRejected) history.champion = model->model;
    history.entries.push_back({(*next)->sequence, *model});
  }
}

std::string entry_json(const ModelHistory::Entry& entry) {
  const engine::ModelEvent& e = entry.event;
  return fmt::format(R"({{"seq":{},"action":"{}","model":"{}","candidate":{},"report":{}}})", entry.sequence,
                     name(e.action), e.model, e.candidate, e.report.empty() ? "null" : e.report);
}

tl::expected<std::string, std::string> resolve(const DataDir& data, const std::string& prefix) {
  const auto known = data.store->list_models();
  if (!known) return tl::make_unexpected(known.error().reason);
  std::vector<std::string> matches;
  for (const auto& model : *known) {
    if (model.hash.rfind(prefix, 0) == 0) matches.push_back(model.hash);
  }
  if (matches.size() == 1) return matches[0];
  return tl::make_unexpected(
      fmt::format("{} models begin with \"{}\"; `shrike models list` names them", matches.size(), prefix));
}

int list(const Options& options) {
  const auto data = open_data_dir(options.data);
  if (!data) return complain(data.error(), kBadInput);
  const auto history = read_history(*data);
  if (!history) return complain(history.error(), kFailed);
  if (options.json) {
    std::string all;
    for (const auto& entry : history->entries) all += (all.empty() ? "" : ",") + entry_json(entry);
    fmt::print("{{\"champion\":\"{}\",\"events\":[{}]}}\n", history->champion, all);
    return 0;
  }
  if (history->entries.empty())
    fmt::print("no model yet: the prior answers until a candidate passes the gate\n");
  for (const auto& entry : history->entries) {
    const engine::ModelEvent& e = entry.event;
    fmt::print("{} {:>10}  {:<9}  {}  after {} examples\n",
               e.model == history->champion && e.action != engine::ModelAction::kRejected ? "*" : " ",
               entry.sequence, name(e.action), e.model, e.candidate);
  }
  return 0;
}

int show(const Options& options) {
  const auto data = open_data_dir(options.data);
  if (!data) return complain(data.error(), kBadInput);
  const auto hash = resolve(*data, options.model);
  if (!hash) return complain(hash.error(), kBadInput);
  const auto bytes = data->store->get_model(*hash);
  if (!bytes) return complain(bytes.error().reason, kFailed);
  const auto model = learners::load_model(*bytes);
  if (!model) return complain(model.error().reason, kFailed);
  const auto history = read_history(*data);
  if (!history) return complain(history.error(), kFailed);
  std::string events;
  for (const auto& entry : history->entries) {
    if (entry.event.model == *hash) events += (events.empty() ? "" : ",") + entry_json(entry);
  }
  if (options.json) {
    fmt::print(R"({{"model":"{}","family":"{}","bytes":{},"columns":{},"champion":{},"events":[{}]}})"
               "\n",
               *hash, (*model)->family(), bytes->size(), (*model)->columns().size(),
               *hash == history->champion, events);
    return 0;
  }
  fmt::print("model     {}{}\nfamily    {}\nbytes     {}\ncolumns   {}\n", *hash,
             *hash == history->champion ? " (champion)" : "", (*model)->family(), bytes->size(),
             (*model)->columns().size());
  for (const auto& entry : history->entries) {
    if (entry.event.model == *hash)
      fmt::print("event     {} {} {}\n", entry.sequence, name(entry.event.action), entry.event.report);
  }
  return 0;
}

int export_model(const Options& options) {
  const auto data = open_data_dir(options.data);
  if (!data) return complain(data.error(), kBadInput);
  const auto hash = resolve(*data, options.model);
  if (!hash) return complain(hash.error(), kBadInput);
  const auto bytes = data->store->get_model(*hash);
  if (!bytes) return complain(bytes.error().reason, kFailed);
  std::ofstream out(options.out, std::ios::binary);
  out << *bytes;
  if (!out.flush()) return complain(fmt::format("{}: the file cannot be written", options.out), kBadInput);
  fmt::print("{} bytes of model {} in {}\n", bytes->size(), *hash, options.out);
  return 0;
}

// Keeps a model from a file in the data directory, so that it can be activated.
int import_model(const Options& options) {
  std::ifstream file(options.model, std::ios::binary);
  if (!file) return complain(fmt::format("{}: the file cannot be read", options.model), kBadInput);
  const std::string given{std::istreambuf_iterator<char>(file), {}};
  auto data = open_data_dir(options.data);
  if (!data) return complain(data.error(), kBadInput);
  const engine::ConfigPtr config = data->config;
  data->store.reset();
  const auto model = learners::read_model(given, config->columns);
  if (!model) {
    const learners::Error& error = model.error();
    return complain(
        fmt::format("{}: {}{}{}", options.model, error.field, error.field.empty() ? "" : ": ", error.reason),
        kBadInput);
  }
  if ((*model)->columns() != config->columns)
    return complain(
        fmt::format("{}: the model is for other features than {} has", options.model, options.data),
        kBadInput);
  auto store = storage::Store::open(options.data, {});
  if (!store) return complain(store.error().reason, kBadInput);
  const std::string bytes = learners::serialize(**model), hash = learners::content_hash(bytes);
  if (auto kept = (*store)->put_model(hash, bytes); !kept) return complain(kept.error().reason, kFailed);
  fmt::print("{}\n`shrike models activate {}` makes it the champion once a server runs on {}\n", hash,
             hash.substr(0, 8), options.data);
  return 0;
}

int activate(const Options& options) {
  const auto reply = Client::ask(
      options.endpoint,
      fmt::format(R"({{"command":"activate","argument":"{}"}})", engine::json_escape(options.model)), 10'000);
  if (!reply) return complain(reply.error(), kFailed);
  fmt::print("{}\n", *reply);
  return reply->rfind("{\"error\"", 0) == 0 ? kNotAllWell : 0;
}

std::string_view verdict_name(engine::Verdict verdict) {
  return verdict == engine::Verdict::kFraud        ? "fraud"
         : verdict == engine::Verdict::kLegitimate ? "legitimate"
                                                   : "unknown";
}

int inspect(const Options& options) {
  const auto data = open_data_dir(options.data);
  if (!data) return complain(data.error(), kBadInput);
  const engine::Config& config = *data->config;
  const auto& schema = config.schema();
  features::Transaction wanted;
  wanted.reset(schema);
  if (auto set = features::set_from_text(schema, schema.id, options.transaction, wanted); !set) {
    return complain(fmt::format("{}: {}", set.error().field, set.error().reason), kBadInput);
  }
  engine::StoreHistory history(*data->store, config.plan);
  const auto looked_up = history.find(features::key(schema, wanted, schema.id));
  if (!looked_up) return complain(looked_up.error().reason, kFailed);
  const std::optional<engine::Recorded>& found = *looked_up;
  if (!found)
    return complain(fmt::format("transaction {} is not in {}", options.transaction, options.data), kBadInput);
  const auto models = read_history(*data);
  if (!models) return complain(models.error(), kFailed);
  const engine::TransactionEvent& event = found->event;
  std::string labels;
  for (size_t s = 0; s < engine::kSources; ++s) {
    const engine::Verdict verdict = found->labels.by_source[s];
    if (verdict == engine::Verdict::kUnknown) continue;
    labels += fmt::format(R"({}{{"source":"{}","verdict":"{}"}})", labels.empty() ? "" : ",",
                          name(static_cast<engine::Source>(s)), verdict_name(verdict));
  }
  engine::ModelBook book(*data->store, data->config);
  const learners::ModelPtr champion = models->champion.empty()
                                          ? learners::make_prior_model(config.columns, config.training.prior)
                                          : book.load(models->champion);
  if (!champion) return complain(fmt::format("model {} cannot be read", models->champion), kFailed);
  std::vector<double> contributions(event.row.size());
  float score = 0;
  champion->score(learners::MatrixView(event.row, event.row.size()), {&score, 1});
  champion->explain(event.row, contributions);
  const std::string now = fmt::format(R"({{"model":"{}","score":{:.9g}}})",
                                      models->champion.empty() ? "prior" : models->champion, score);
  std::string reply;
  engine::encode_answer_json(config, event, found->sequence, reply);
  std::string features_json;
  for (size_t c = 0; c < event.row.size(); ++c) {
    const float v = event.row[c];
    features_json +=
        fmt::format(R"({}"{}":{})", c == 0 ? "" : ",", engine::json_escape(config.columns[c].name),
                    std::isfinite(v) ? fmt::format("{:.9g}", v) : "null");
  }
  if (options.json) {
    fmt::print(
        R"({{"transaction":{},"answer":{},"features":{{{}}},"label":"{}","labels":[{}],"champion_now":{}}})"
        "\n",
        engine::score_request_json(schema, event.transaction), reply, features_json,
        verdict_name(found->labels.current), labels, now);
    return 0;
  }
  fmt::print("transaction   {}\nanswer        {}\nlabel         {} [{}]\nchampion now  {}\n\n",
             engine::score_request_json(schema, event.transaction), reply,
             verdict_name(found->labels.current), labels, now);
  fmt::print("{:<32}{:>14}{:>18}\n", "feature", "value", "to the margin now");
  for (size_t c = 0; c < event.row.size(); ++c) {
    fmt::print("{:<32}{:>14.6g}{:>18}\n", config.columns[c].name, event.row[c],
               fmt::format("{:+.4f}", contributions[c]));
  }
  return 0;
}

}  // namespace

void add_models(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* models = app.add_subcommand(
      "models",
      "The models of a data directory: list, show, export, import; or activate one in a running server.\n\n"
      "  shrike models list --data ./shrike-data\n"
      "  shrike models show 3f2a --data ./shrike-data\n"
      "  shrike models activate 3f2a --endpoint tcp://127.0.0.1:7202\n"
      "  shrike models export 3f2a --data ./shrike-data --out model.shrike\n"
      "  shrike models import model.json --data ./shrike-data");
  models->require_subcommand(1);
  const auto with_data = [&](CLI::App* command) {
    command->add_option("--data,-d", options->data, "the data directory; a server may be running on it")
        ->capture_default_str();
    command->add_flag("--json", options->json, "for machines");
  };
  CLI::App* one = models->add_subcommand("list", "every model event of the log; * marks the champion");
  with_data(one);
  one->callback([options, &exit_code] { exit_code = list(*options); });
  one = models->add_subcommand("show", "one model and what the gate said of it");
  one->add_option("model", options->model, "its hash, or how it begins")->required();
  with_data(one);
  one->callback([options, &exit_code] { exit_code = show(*options); });
  one = models->add_subcommand("export", "writes a model to a file, for `shrike replay --model FILE`");
  one->add_option("model", options->model, "its hash, or how it begins")->required();
  one->add_option("--out,-o", options->out, "the file")->required();
  with_data(one);
  one->callback([options, &exit_code] { exit_code = export_model(*options); });
  one = models->add_subcommand(
      "import",
      "keeps a model from a file: one that was exported, or XGBoost's JSON; no server may be running");
  one->add_option("file", options->model, "the file")->required();
  one->add_option("--data,-d", options->data, "the data directory")->capture_default_str();
  one->callback([options, &exit_code] { exit_code = import_model(*options); });
  one = models->add_subcommand("activate",
                               "makes a kept model the champion of a running server, between two requests");
  one->add_option("model", options->model, "its hash, or how it begins")->required();
  one->add_option("--endpoint,-e", options->endpoint, "the server's feedback socket")->capture_default_str();
  one->callback([options, &exit_code] { exit_code = activate(*options); });
}

void add_inspect(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("inspect",
                                         "One transaction: its features, score, model, reasons, labels, and "
                                         "what the present champion would say.\n\n"
                                         "  shrike inspect 4711 --data ./shrike-data");
  command->add_option("transaction", options->transaction, "its id")->required();
  command->add_option("--data,-d", options->data, "the data directory; a server may be running on it")
      ->capture_default_str();
  command->add_flag("--json", options->json, "for machines");
  command->callback([options, &exit_code] { exit_code = inspect(*options); });
}

}  // namespace shrike::tools
