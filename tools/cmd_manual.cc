// shrike man, shrike completion: made of what the other commands declare, so that there is one list of
// options.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <vector>

#include "tools/commands.h"

namespace shrike::tools {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t from = 0; from <= text.size();) {
    const size_t end = std::min(text.find('\n', from), text.size());
    lines.push_back(text.substr(from, end - from));
    from = end + 1;
  }
  return lines;
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* one) { return !one->get_group().empty(); });
}

std::vector<const CLI::Option*> options_of(const CLI::App& app, bool positional) {
  return app.get_options([=](const CLI::Option* one) { return one->get_positional() == positional; });
}

// "--config", "-c"
std::vector<std::string> spellings(const CLI::Option& option) {
  std::vector<std::string> all;
  for (const std::string& name : option.get_snames()) all.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) all.push_back("--" + name);
  return all;
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

// The values of an option that takes one of a few: CLI11 shows them as TEXT:{a,b,c}.
std::vector<std::string> choices(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{'), close = type.rfind('}');
  std::vector<std::string> all;
  if (open == std::string::npos || close == std::string::npos) return all;
  for (size_t from = open + 1; from <= close;) {
    const size_t end = std::min(type.find(',', from), close);
    all.push_back(type.substr(from, end - from));
    from = end + 1;
  }
  return all;
}

// The page of man(7).
class Page {
 public:
  explicit Page(const CLI::App& app) {
    const std::string& name = app.get_name();
    // Its first sentence, "Shrike does this.", without the name and the dot.
    std::string about = lines_of(app.get_description()).front();
    about = about.substr(about.find(' ') + 1, about.rfind('.') - about.find(' ') - 1);
    out_ = fmt::format(".TH SHRIKE 1 \"\" \"{0} {1}\" \"User Commands\"\n.SH NAME\n{0} \\- {2}\n", name,
                       kVersion, escape(about));
    out_ += fmt::format(
        ".SH SYNOPSIS\n.B {0}\n[\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIOPTION\\fR]...\n.SH DESCRIPTION\n",
        name);
    text(app.get_description());
    out_ += ".SH OPTIONS\n";
    options(app);
    out_ += ".SH COMMANDS\n";
    for (const CLI::App* one : commands_of(app)) command(*one, name);
    out_ += ".SH NOTES\n";
    text(app.get_footer());
  }
  const std::string& str() const { return out_; }

 private:
  // Characters as they are, also where roff would set prettier ones.
  static std::string escape(const std::string& text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      const auto c = static_cast<unsigned char>(text[i]);
      switch (c) {
        case '\\':
          out += "\\e";
          break;
        case '-':
          out += "\\-";
          break;
        case '\'':
          out += "\\(aq";
          break;
        case '`':
          out += "\\(ga";
          break;
        case '^':
          out += "\\(ha";
          break;
        case '~':
          out += "\\(ti";
          break;
        default:
          if (c < 0x80) {
            out += text[i];
          } else {  // UTF-8, which not every roff reads
            const size_t more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
            uint32_t code = c & (0x3fu >> more);
            for (size_t k = 0; k < more && i + 1 < text.size(); ++k)
              code = code << 6 | (static_cast<unsigned char>(text[++i]) & 0x3fu);
            out += fmt::format("\\[u{:04X}]", code);
          }
      }
    }
    return out;
  }

  void paragraph() {
    if (!out_.ends_with(".PP\n")) out_ += ".PP\n";
  }

  // Lines that are set in are examples and stay as they are.
  void text(const std::string& about) {
    bool example = false;
    std::vector<std::string> lines = lines_of(about);
    while (!lines.empty() && lines.back().empty()) lines.pop_back();
    for (const std::string& line : lines) {
      if (line.empty()) {
        if (!example) paragraph();
        continue;
      }
      const bool set_in = line.rfind("  ", 0) == 0;
      if (example && !set_in) out_ += ".fi\n";
      if (example != set_in) paragraph();
      if (set_in && !example) out_ += ".nf\n";
      example = set_in;
      if (line[0] == '.') out_ += "\\&";  // no request
      out_ += escape(line) + "\n";
    }
    if (example) out_ += ".fi\n";
  }

  void option(const CLI::Option& option) {
    std::string head;
    if (option.get_positional()) {
      head = fmt::format("\\fI{}\\fR", escape(option.get_name(true)));
    } else {
      for (const std::string& one : spellings(option))
        head += fmt::format("{}\\fB{}\\fR", head.empty() ? "" : ", ", escape(one));
    }
    if (takes_value(option) && !option.get_positional())
      head += fmt::format(" \\fI{}\\fR", escape(option.get_type_name()));
    out_ += fmt::format(".TP\n{}\n{}", head, escape(option.get_description()));
    if (!option.get_default_str().empty())
      out_ += fmt::format(" (default: {})", escape(option.get_default_str()));
    if (option.get_required()) out_ += " (required)";
    out_ += "\n";
  }

  void options(const CLI::App& app) {
    for (const bool positional : {true, false}) {
      for (const CLI::Option* one : options_of(app, positional)) option(*one);
    }
  }

  void command(const CLI::App& app, const std::string& before) {
    std::string synopsis = before + " " + app.get_name();
    out_ += fmt::format(".SS {}", escape(synopsis));
    if (!commands_of(app).empty()) out_ += " \\fICOMMAND\\fR";
    for (const CLI::Option* one : options_of(app, true)) {
      const std::string name = fmt::format("\\fI{}\\fR", escape(one->get_name(true)));
      out_ += one->get_required() ? " " + name : " [" + name + "]";
    }
    out_ += "\n";
    text(app.get_description());
    options(app);
    for (const CLI::App* one : commands_of(app)) command(*one, synopsis);
  }

  std::string out_;
};

// Bash's completion: a table from the command so far to what may follow, and from an option to its values.
class Completion {
 public:
  explicit Completion(const CLI::App& app) {
    visit(app, "");
    out_ = fmt::format(R"(# Completion of {0} for bash; made by `{0} completion`.
_{0}() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} command="" words="" i
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case "$command/${{COMP_WORDS[i]}}" in
      {1}) command="$command/${{COMP_WORDS[i]}}" ;;
    esac
  done
  case "$command $prev" in
{2}  esac
  case "$command" in
{3}  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o bashdefault -o default -F _{0} {0}
)",
                       app.get_name(), fmt::join(commands_, " | "), values_, words_);
  }
  const std::string& str() const { return out_; }

 private:
  void visit(const CLI::App& app, const std::string& path) {
    std::vector<std::string> words;
    for (const CLI::App* one : commands_of(app)) {
      words.push_back(one->get_name());
      commands_.push_back(fmt::format("\"{}/{}\"", path, one->get_name()));
    }
    std::vector<std::string> free_text;
    for (const CLI::Option* one : options_of(app, false)) {
      std::vector<std::string> cases;
      for (const std::string& spelling : spellings(*one)) {
        words.push_back(spelling);
        cases.push_back(fmt::format("\"{} {}\"", path, spelling));
      }
      if (!takes_value(*one)) continue;
      const std::vector<std::string> allowed = choices(*one);
      if (allowed.empty()) {  // a file, as often as not
        free_text.insert(free_text.end(), cases.begin(), cases.end());
      } else {
        values_ += fmt::format("    {}) COMPREPLY=($(compgen -W \"{}\" -- \"$cur\")); return ;;\n",
                               fmt::join(cases, " | "), fmt::join(allowed, " "));
      }
    }
    if (!free_text.empty()) values_ += fmt::format("    {}) return ;;\n", fmt::join(free_text, " | "));
    words_ += fmt::format("    \"{}\") words=\"{}\" ;;\n", path, fmt::join(words, " "));
    for (const CLI::App* one : commands_of(app)) visit(*one, path + "/" + one->get_name());
  }

  std::vector<std::string> commands_;
  std::string values_, words_, out_;
};

int write(const std::string& path, const std::string& text) {
  if (path.empty()) {
    fmt::print("{}", text);
    return 0;
  }
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "w"), std::fclose);
  if (!file || std::fputs(text.c_str(), file.get()) < 0 || std::fflush(file.get()) != 0)
    return complain(fmt::format("{}: the file cannot be written", path), kFailed);
  return 0;
}

}  // namespace

void add_manual(CLI::App& app, int& exit_code) {
  auto out = std::make_shared<std::string>();
  const auto add = [&](const char* name, const char* about, auto make) {
    CLI::App* command = app.add_subcommand(name, about)->group("");  // not among those of --help
    command->add_option("--out,-o", *out, "write here instead of printing");
    command->callback([&app, &exit_code, out, make] { exit_code = write(*out, make(app)); });
  };
  add("man", "The manual page, for man(1).", [](const CLI::App& all) { return Page(all).str(); });
  add("completion", "The completion of this command for bash.",
      [](const CLI::App& all) { return Completion(all).str(); });
}

}  // namespace shrike::tools
