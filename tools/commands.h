// The commands of `shrike`, one function each: it declares its options and what runs when it is chosen. Exit
// codes: 0 done, 1 done but not all was well (differences found, requests refused), 2 bad usage or input, 3
// the server or the disk failed.
#pragma once

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "engine/config/config.h"

namespace shrike::tools {

inline constexpr int kNotAllWell = 1;
inline constexpr int kBadInput = 2;
inline constexpr int kFailed = 3;

void add_serve(CLI::App& app, int& exit_code);
void add_score(CLI::App& app, int& exit_code);
void add_feedback(CLI::App& app, int& exit_code);
void add_simulate(CLI::App& app, int& exit_code);
void add_bench(CLI::App& app, int& exit_code);
void add_replay(CLI::App& app, int& exit_code);
void add_evaluate(CLI::App& app, int& exit_code);
void add_models(CLI::App& app, int& exit_code);
void add_judge(CLI::App& app, int& exit_code);
void add_train(CLI::App& app, int& exit_code);
void add_alerts(CLI::App& app, int& exit_code);
void add_timeline(CLI::App& app, int& exit_code);
void add_health(CLI::App& app, int& exit_code);
void add_diagnose(CLI::App& app, int& exit_code);
void add_inspect(CLI::App& app, int& exit_code);
void add_status(CLI::App& app, int& exit_code);
void add_check_config(CLI::App& app, int& exit_code);
void add_quality(CLI::App& app, int& exit_code);
void add_verify(CLI::App& app, int& exit_code);
void add_repair(CLI::App& app, int& exit_code);
void add_backup(CLI::App& app, int& exit_code);
void add_restore(CLI::App& app, int& exit_code);
void add_keygen(CLI::App& app, int& exit_code);
void add_clients(CLI::App& app, int& exit_code);
void add_manual(CLI::App& app, int& exit_code);

// Loads a configuration ("" is the embedded quickstart); prints every problem and returns null when there are
// any.
engine::ConfigPtr read_config(const std::string& path);
extern const char* const kEmbeddedConfig;
// The project's version, from CMakeLists.txt.
extern const char* const kVersion;

// Prints "shrike: TEXT" to standard error and returns the code.
int complain(const std::string& text, int code);
// Prints "shrike: note: TEXT" to standard error: what a user should know of something that was done.
void remark(const std::string& text);

}  // namespace shrike::tools
