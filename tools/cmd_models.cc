// shrike models, shrike inspect
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>

#include <nlohmann/json.hpp>

#include "engine/fold/policy.h"
#include "engine/log/history.h"
#include "engine/log/recovery.h"
#include "engine/wire/event_json.h"
#include "engine/wire/wire.h"
#include "learners/formats/export.h"
#include "learners/formats/import.h"
#include "storage/find_model.h"
#include "tools/ab_tests.h"
#include "tools/client.h"
#include "tools/commands.h"
#include "tools/data_dir.h"
#include "tools/json.h"
#include "tools/rows_csv.h"

namespace shrike::tools {
namespace {

struct Options {
  std::string data = "./shrike-data", model, out, endpoint = "tcp://127.0.0.1:7202", transaction, rows,
              format = "shrike";
  bool json = false, anyway = false;
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
    if (engine::takes_over(model->action)) history.champion = model->model;
    history.entries.push_back({(*next)->sequence, *model});
  }
}

// The events of one model, or of all when `model` is null.
Json events_json(const ModelHistory& history, const std::string* model) {
  Json events = Json::array();
  for (const auto& [sequence, event] : history.entries) {
    if (model == nullptr || event.model == *model) events.push_back(model_event_json(sequence, event));
  }
  return events;
}

int list(const Options& options) {
  const auto data = open_data_dir(options.data);
  if (!data) return complain(data.error(), kBadInput);
  const auto history = read_history(*data);
  if (!history) return complain(history.error(), kFailed);
  if (options.json) {
    fmt::print("{}\n",
               to_text({{"champion", history->champion}, {"events", events_json(*history, nullptr)}}));
    return 0;
  }
  if (history->entries.empty())
    fmt::print("no model yet: the prior answers until a candidate passes the gate\n");
  for (const auto& entry : history->entries) {
    const engine::ModelEvent& e = entry.event;
    fmt::print("{} {:>10}  {:<9}  {}  after {} examples\n",
               e.model == history->champion && engine::takes_over(e.action) ? "*" : " ", entry.sequence,
               name(e.action), e.model, e.candidate);
  }
  return 0;
}

int show(const Options& options) {
  const auto data = open_data_dir(options.data);
  if (!data) return complain(data.error(), kBadInput);
  const auto hash = storage::find_model(*data->store, options.model);
  if (!hash) return complain(hash.error().reason, kBadInput);
  const auto bytes = data->store->get_model(*hash);
  if (!bytes) return complain(bytes.error().reason, kFailed);
  const auto model = learners::load_model(*bytes);
  if (!model) return complain(model.error().reason, kFailed);
  const auto history = read_history(*data);
  if (!history) return complain(history.error(), kFailed);
  if (options.json) {
    const Json all = {{"model", *hash},
                      {"family", (*model)->family()},
                      {"bytes", bytes->size()},
                      {"columns", (*model)->columns().size()},
                      {"origin", (*model)->origin()},
                      {"champion", *hash == history->champion},
                      {"events", events_json(*history, &*hash)}};
    fmt::print("{}\n", to_text(all));
    return 0;
  }
  fmt::print("model     {}{}\nfamily    {}\nbytes     {}\ncolumns   {}\n", *hash,
             *hash == history->champion ? " (champion)" : "", (*model)->family(), bytes->size(),
             (*model)->columns().size());
  if (!(*model)->origin().empty()) fmt::print("origin    {}\n", (*model)->origin());
  for (const auto& entry : history->entries) {
    if (entry.event.model == *hash)
      fmt::print("event     {} {} {}\n", entry.sequence, name(entry.event.action), entry.event.report);
  }
  return 0;
}

// The bytes of a model: a file's, or else those of a model in the data directory.
tl::expected<std::string, std::string> read_bytes(const Options& options) {
  if (auto bytes = file_bytes(options.model)) return std::move(*bytes);
  const auto data = open_data_dir(options.data);
  if (!data) return tl::make_unexpected(fmt::format("{} is no file, and {}", options.model, data.error()));
  return model_bytes(*data->store, options.model);
}

std::string describe(const std::string& path, const learners::Error& error) {
  return fmt::format("{}: {}{}{}", path, error.field, error.field.empty() ? "" : ": ", error.reason);
}

int export_model(const Options& options) {
  auto bytes = read_bytes(options);
  if (!bytes) return complain(bytes.error(), kBadInput);
  const auto model = learners::load_model(*bytes);
  if (!model) return complain(describe(options.model, model.error()), kBadInput);
  const std::string hash = learners::content_hash(*bytes);
  if (options.format != "shrike") {
    auto exported =
        options.format == "json" ? learners::export_json(**model) : learners::export_xgboost(**model);
    if (!exported)
      return complain(fmt::format("--format {}: {}", options.format, exported.error().reason), kBadInput);
    bytes = std::move(*exported);
  }
  std::ofstream out(options.out, std::ios::binary);
  out << *bytes;
  if (!out.flush()) return complain(fmt::format("{}: the file cannot be written", options.out), kBadInput);
  fmt::print("{} bytes of model {} in {}\n", bytes->size(), hash, options.out);
  if (options.format == "xgboost") {
    if (const std::string note = learners::note_xgboost_export(**model); !note.empty())
      remark(fmt::format("{}: {}", options.out, note));
  }
  return 0;
}

// Keeps a model from a file in the data directory, so that it can be activated.
int import_model(const Options& options) {
  const auto given = file_bytes(options.model);
  if (!given) return complain(fmt::format("{}: the file cannot be read", options.model), kBadInput);
  auto data = open_data_dir(options.data);
  if (!data) return complain(data.error(), kBadInput);
  const engine::ConfigPtr config = data->config;
  data->store.reset();
  learners::Notes notes;
  const auto model = learners::read_model(*given, config->columns, &notes);
  if (!model) return complain(describe(options.model, model.error()), kBadInput);
  for (const std::string& note : notes) remark(fmt::format("{}: {}", options.model, note));
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

// Scores raw feature rows with a model: one line each, margin and probability.
int score_rows(const Options& options) {
  const auto rows = read_rows(options.rows);
  if (!rows) return complain(rows.error(), kBadInput);
  const auto bytes = read_bytes(options);
  if (!bytes) return complain(bytes.error(), kBadInput);
  learners::Notes notes;
  const auto model = learners::read_model(*bytes, rows->columns, &notes);
  if (!model) return complain(describe(options.model, model.error()), kBadInput);
  for (const std::string& note : notes) remark(fmt::format("{}: {}", options.model, note));
  if (!rows->note.empty()) remark(rows->note);
  // A model of ours knows its columns by name; the rows may have more, in another order.
  const std::vector<learners::Column>& wanted = (*model)->columns();
  std::vector<size_t> from;
  for (const learners::Column& column : wanted) {
    const auto found = std::find_if(rows->columns.begin(), rows->columns.end(),
                                    [&](const learners::Column& one) { return one.name == column.name; });
    if (found == rows->columns.end())
      return complain(
          fmt::format("{}: the model's column \"{}\" is not in the header", options.rows, column.name),
          kBadInput);
    from.push_back(static_cast<size_t>(found - rows->columns.begin()));
  }
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      options.out.empty() ? nullptr : std::fopen(options.out.c_str(), "w"), std::fclose);
  if (!options.out.empty() && !file)
    return complain(fmt::format("{}: the file cannot be written", options.out), kBadInput);
  std::FILE* out = file ? file.get() : stdout;
  constexpr size_t kBatch = 1024;
  std::vector<float> scores(kBatch);
  fmt::print(out, "margin,probability\n");
  for (size_t begin = 0; begin < rows->count(); begin += kBatch) {
    const size_t n = std::min(kBatch, rows->count() - begin);
    const std::vector<float> batch = rows->part(begin, n, from);
    const learners::MatrixView view(batch, wanted.size());
    (*model)->score(view, std::span(scores).first(n));
    for (size_t i = 0; i < n; ++i)
      fmt::print(out, "{:.17g},{:.9g}\n", (*model)->margin(view.row(i)), scores[i]);
  }
  if (std::fflush(out) != 0) return complain("the scores cannot be written", kFailed);
  return 0;
}

// "activate" or "challenge" it.
int tell_server(const Options& options, const char* command) {
  return ask_and_print(
      options.endpoint,
      to_text({{"command", command}, {"argument", options.model + (options.anyway ? " anyway" : "")}}));
}

// One transaction of the log, and what is known of it.
struct Inspected {
  engine::Recorded recorded;
  Json labels = Json::array();        // what each source said
  std::string champion;               // its hash; "prior" while there is none
  float score_now = 0;                // the champion's
  std::vector<double> contributions;  // of each column to its margin
};

Json labels_json(const engine::SourceConfig& sources, const engine::LabelState& state) {
  Json labels = Json::array();
  for (size_t s = 0; s < engine::kSources; ++s) {
    if (state.by_source[s] == engine::Verdict::kUnknown) continue;
    labels.push_back({{"source", sources.name(static_cast<engine::Source>(s))},
                      {"verdict", engine::name(state.by_source[s])}});
  }
  return labels;
}

tl::expected<Inspected, int> look_up(const DataDir& data, const Options& options) {
  const auto fail = [](const std::string& why, int code) { return tl::make_unexpected(complain(why, code)); };
  const engine::Config& config = *data.config;
  const auto& schema = config.schema();
  features::Transaction wanted;
  wanted.reset(schema);
  if (auto set = features::set_from_text(schema, schema.id, options.transaction, wanted); !set)
    return fail(fmt::format("{}: {}", set.error().field, set.error().reason), kBadInput);
  engine::StoreHistory history(*data.store, config.plan);
  auto found = history.find(features::key(schema, wanted, schema.id));
  if (!found) return fail(found.error().reason, kFailed);
  if (!*found)
    return fail(fmt::format("transaction {} is not in {}", options.transaction, options.data), kBadInput);
  const auto models = read_history(data);
  if (!models) return fail(models.error(), kFailed);
  Inspected all{.recorded = std::move(**found)};
  all.labels = labels_json(config.sources, all.recorded.labels);
  all.champion = models->champion.empty() ? "prior" : models->champion;
  engine::ModelBook book(*data.store, data.config);
  const learners::ModelPtr champion = models->champion.empty()
                                          ? learners::make_prior_model(config.columns, config.training.prior)
                                          : book.load(models->champion);
  if (!champion) return fail(fmt::format("model {} cannot be read", models->champion), kFailed);
  const std::vector<float>& row = all.recorded.event.row;
  all.contributions.resize(row.size());
  champion->score(learners::MatrixView(row, row.size()), {&all.score_now, 1});
  champion->explain(row, all.contributions);
  return all;
}

void print_inspected(const engine::Config& config, const Inspected& found, const std::string& transaction,
                     const std::string& answer, const Json& now) {
  fmt::print(
      "transaction   {}\nanswer        {}\noutcome       {}\nlabel         {} {}\nchampion now  {}\n\n",
      transaction, answer, engine::name(found.recorded.labels.outcome),
      engine::name(found.recorded.labels.current), to_text(found.labels), to_text(now));
  size_t width = 30;
  for (const learners::Column& column : config.columns) width = std::max(width, column.name.size());
  fmt::print("{:<{}}  {:>14}{:>18}\n", "feature", width, "value", "to the margin now");
  for (size_t c = 0; c < found.recorded.event.row.size(); ++c) {
    fmt::print("{:<{}}  {:>14.6g}{:>18}\n", config.columns[c].name, width, found.recorded.event.row[c],
               fmt::format("{:+.4f}", found.contributions[c]));
  }
}

int inspect(const Options& options) {
  const auto data = open_data_dir(options.data);
  if (!data) return complain(data.error(), kBadInput);
  const engine::Config& config = *data->config;
  const auto found = look_up(*data, options);
  if (!found) return found.error();
  const engine::TransactionEvent& event = found->recorded.event;
  const std::string transaction = engine::score_request_json(config.schema(), event.transaction);
  std::string answer;
  engine::encode_answer_json(config, event, found->recorded.sequence, false, answer);
  const Json now = {{"model", found->champion}, {"score", number(found->score_now)}};
  if (!options.json) {
    print_inspected(config, *found, transaction, answer, now);
    return 0;
  }
  Json features = Json::object();
  for (size_t c = 0; c < event.row.size(); ++c) features[config.columns[c].name] = number(event.row[c]);
  const Json all = {{"transaction", from_text(transaction)},
                    {"answer", from_text(answer)},
                    {"features", std::move(features)},
                    {"outcome", engine::name(found->recorded.labels.outcome)},
                    {"wanted", name(event.answer.wanted)},
                    {"propensity", number(event.answer.propensity)},
                    {"label", engine::name(found->recorded.labels.current)},
                    {"labels", found->labels},
                    {"champion_now", now}};
  fmt::print("{}\n", to_text(all));
  return 0;
}

}  // namespace

void add_models(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* models = app.add_subcommand(
      "models",
      "The models of a data directory: list, show, export, import, score rows with one; activate one in a "
      "running server, or try it there (challenge, test).\n\n"
      "  shrike models list --data ./shrike-data\n"
      "  shrike models show 3f2a --data ./shrike-data\n"
      "  shrike models activate 3f2a --endpoint tcp://127.0.0.1:7202\n"
      "  shrike models export 3f2a --data ./shrike-data --out model.shrike\n"
      "  shrike models export 3f2a --data ./shrike-data --out model.json --format xgboost\n"
      "  shrike models import model.json --data ./shrike-data\n"
      "  shrike models score lightgbm.txt rows.csv --out scores.csv");
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
  one = models->add_subcommand("export",
                               "writes a model to a file, for `shrike replay --model FILE` or other tools");
  one->add_option("model", options->model, "its hash, or how it begins; or an exported file")->required();
  one->add_option("--out,-o", options->out, "the file")->required();
  one->add_option("--format,-f", options->format,
                  "shrike; xgboost: a tree ensemble's raw margin, as JSON that XGBoost loads, with the "
                  "calibration as attributes shrike_slope and shrike_shift; json: a linear model, as "
                  "learners/formats/export.h describes")
      ->check(CLI::IsMember({"shrike", "xgboost", "json"}))
      ->capture_default_str();
  with_data(one);
  one->callback([options, &exit_code] { exit_code = export_model(*options); });
  one = models->add_subcommand(
      "import",
      "keeps a model from a file: one that was exported, XGBoost's JSON or UBJSON, or LightGBM's text; no "
      "server may be running");
  one->add_option("file", options->model, "the file")->required();
  one->add_option("--data,-d", options->data, "the data directory")->capture_default_str();
  one->callback([options, &exit_code] { exit_code = import_model(*options); });
  one = models->add_subcommand("score",
                               "scores rows of features: prints margin,probability for each. A CSV (or gz) "
                               "whose header names the columns; an empty cell is a missing value");
  one->add_option("model", options->model,
                  "a file (ours, XGBoost's or LightGBM's), or the hash of a model in the data directory")
      ->required();
  one->add_option("rows", options->rows, "the CSV file")->required();
  one->add_option("--out,-o", options->out, "write here instead of printing");
  one->add_option("--data,-d", options->data, "the data directory")->capture_default_str();
  one->callback([options, &exit_code] { exit_code = score_rows(*options); });
  const auto add_for_server = [&](const char* name, const char* help) {
    one = models->add_subcommand(name, help);
    one->add_option("model", options->model, "its hash, or how it begins")->required();
    one->add_option("--endpoint,-e", options->endpoint, "the server's feedback socket")
        ->capture_default_str();
    one->callback([options, name, &exit_code] { exit_code = tell_server(*options, name); });
    return one;
  };
  add_for_server("activate", "makes a kept model the champion of a running server, between two requests")
      ->add_flag("--anyway", options->anyway, "also one that was rolled back from");
  add_for_server(
      "challenge",
      "tries a kept model beside the champion of a running server: first it answers nobody, then a "
      "growing share of the entities, and becomes champion if it is not worse (see [rollout])");
  add_ab_tests(*models, exit_code);
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
