// libshrike's C++ face: a thin owner of what shrike.h has. C++17; header only, so the ABI stays that of C.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "shrike.h"

namespace shrike {

struct Answer : shrike_answer {
  int status = SHRIKE_OK;
  explicit operator bool() const { return status == SHRIKE_OK; }
};

// Any number of threads may call score() and feedback(); it ends with its owner.
class Scorer {
 public:
  // Empty when it cannot be opened: `error` says why.
  static Scorer open(const std::string& config_file, const std::string& data_dir, std::string& error) {
    shrike_text text{};
    Scorer scorer(shrike_open(config_file.c_str(), data_dir.c_str(), &text));
    if (!scorer) error.assign(text.data, text.size);
    return scorer;
  }
  explicit operator bool() const { return engine_ != nullptr; }

  Answer score(std::string_view request) {
    Answer answer;
    answer.status = shrike_score(engine_.get(), request.data(), request.size(), &answer, nullptr);
    return answer;
  }
  // The same with the reply's text, which has reasons or what was wrong.
  Answer score(std::string_view request, std::string& reply) {
    Answer answer;
    shrike_text text{};
    answer.status = shrike_score(engine_.get(), request.data(), request.size(), &answer, &text);
    reply.assign(text.data, text.size);
    return answer;
  }
  int feedback(std::string_view request, std::string& reply) {
    shrike_text text{};
    const int status = shrike_feedback(engine_.get(), request.data(), request.size(), &text);
    reply.assign(text.data, text.size);
    return status;
  }

 private:
  struct Close {
    void operator()(shrike_engine* engine) const { shrike_close(engine); }
  };
  explicit Scorer(shrike_engine* engine) : engine_(engine) {}
  std::unique_ptr<shrike_engine, Close> engine_;
};

}  // namespace shrike
