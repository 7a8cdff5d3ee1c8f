#include "learners/formats/document.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

namespace shrike::learners {
namespace {

constexpr int kDepthMax = 64;

tl::unexpected<Error> refuse(std::string reason) {
  return tl::make_unexpected(Error{ErrorCode::kDamaged, "", std::move(reason)});
}

bool is_number(const Document& document) { return document.value.index() <= 2; }

double as_number(const Document& document) {
  if (const bool* flag = document.get<bool>()) return *flag ? 1 : 0;
  const double* number = document.get<double>();
  return number != nullptr ? *number : std::numeric_limits<double>::quiet_NaN();
}

bool is_number(simdjson::dom::element element) {
  using simdjson::dom::element_type;
  const element_type type = element.type();
  return type != element_type::OBJECT && type != element_type::ARRAY && type != element_type::STRING;
}

double as_number(simdjson::dom::element element) {
  using simdjson::dom::element_type;
  if (element.type() == element_type::BOOL) return element.get_bool().value_unsafe() ? 1 : 0;
  if (element.type() == element_type::NULL_VALUE) return std::numeric_limits<double>::quiet_NaN();
  return element.get_double().value_unsafe();
}

bool from_json(simdjson::dom::element from, int depth, Document& out) {
  if (depth > kDepthMax) return false;
  using simdjson::dom::element_type;
  switch (from.type()) {
    case element_type::OBJECT: {
      const simdjson::dom::object members = from.get_object().value_unsafe();
      Document::Object object;
      for (const auto [key, value] : members) {
        object.push_back({std::string(key), {}});
        if (!from_json(value, depth + 1, object.back().value)) return false;
      }
      out.value = std::move(object);
      return true;
    }
    case element_type::ARRAY: {
      const simdjson::dom::array values = from.get_array().value_unsafe();
      // At once, as a digit and a comma would else take a whole Document each on their way.
      if (std::all_of(values.begin(), values.end(), [](const auto value) { return is_number(value); })) {
        auto& numbers = out.value.emplace<Document::Numbers>();
        for (const auto value : values) numbers.push_back(as_number(value));
        return true;
      }
      Document::Array items;
      for (const auto value : values) {
        items.emplace_back();
        if (!from_json(value, depth + 1, items.back())) return false;
      }
      out.value = std::move(items);
      return true;
    }
    case element_type::STRING:
      out.value = std::string(from.get_string().value_unsafe());
      return true;
    case element_type::BOOL:
      out.value = from.get_bool().value_unsafe();
      return true;
    case element_type::NULL_VALUE:
      return true;
    default:
      out.value = from.get_double().value_unsafe();
      return true;
  }
}

// Reads one value after the other; every count is checked against the bytes that are left.
class UbjsonReader {
 public:
  explicit UbjsonReader(std::string_view bytes)
      : rest_(bytes), room_(kRoomBase + kRoomPerByte * bytes.size()) {}

  bool document(Document& out) {
    char marker = 0;
    return take(marker) && marker == '{' && value(marker, 0, out);
  }
  // Why it broke.
  std::string reason() const {
    if (full_) return "it is a UBJSON of far more lists than a model has";
    const std::string where = fmt::format("as UBJSON it breaks {} bytes from its end", rest_.size());
    if (short_)
      return fmt::format(
          "it is neither JSON nor UBJSON, or was cut off: {}, where more is announced than is left; save or "
          "copy it again",
          where);
    if (unknown_ == 0) return fmt::format("it is neither JSON nor UBJSON: {}", where);
    return fmt::format(
        "it is neither JSON nor the UBJSON that XGBoost writes (draft 12): {}, at the unknown type 0x{:02x}; "
        "save it as JSON: booster.save_model(\"model.json\")",
        where, static_cast<uint8_t>(unknown_));
  }

 private:
  // What values may take: each is at least a byte of the file and many times that here. Models are far below.
  static constexpr size_t kRoomBase = size_t{64} << 20, kRoomPerByte = 16;

  bool room_for(size_t bytes) {
    full_ = full_ || bytes > room_;
    if (!full_) room_ -= bytes;
    return !full_;
  }
  // Whether so many bytes are left.
  bool has(size_t bytes) {
    short_ = short_ || bytes > rest_.size();
    return !short_;
  }
  bool unknown(char type) {
    unknown_ = type;
    return false;
  }

  static size_t number_bytes(char marker) {
    switch (marker) {
      case 'i':
      case 'U':
        return 1;
      case 'I':
        return 2;
      case 'l':
      case 'd':
        return 4;
      case 'L':
      case 'D':
        return 8;
      default:
        return 0;
    }
  }

  bool take(char& out) {
    if (!has(1)) return false;
    out = rest_[0];
    rest_.remove_prefix(1);
    return true;
  }

  // `bytes` are there.
  double number(char marker, size_t bytes) {
    uint64_t raw = 0;
    for (size_t i = 0; i < bytes; ++i) raw = raw << 8 | static_cast<uint8_t>(rest_[i]);
    rest_.remove_prefix(bytes);
    switch (marker) {
      case 'i':
        return static_cast<int8_t>(raw);
      case 'I':
        return static_cast<int16_t>(raw);
      case 'l':
        return static_cast<int32_t>(raw);
      case 'L':
        return static_cast<double>(static_cast<int64_t>(raw));
      case 'd':
        return std::bit_cast<float>(static_cast<uint32_t>(raw));
      case 'D':
        return std::bit_cast<double>(raw);
      default:
        return static_cast<double>(raw);
    }
  }

  // A length: an integer in [0, bytes left].
  bool length(size_t& out) {
    char marker = 0;
    if (!take(marker) || marker == 'd' || marker == 'D') return false;
    const size_t bytes = number_bytes(marker);
    if (bytes == 0) return unknown(marker);
    if (!has(bytes)) return false;
    const double found = number(marker, bytes);
    if (!(found >= 0) || !has(found < 1e18 ? static_cast<size_t>(found) : SIZE_MAX)) return false;
    out = static_cast<size_t>(found);
    return true;
  }

  bool text(std::string& out) {
    size_t size = 0;
    if (!length(size)) return false;
    out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  // What may stand behind [ or {: the type of every value (0: each has its own marker), then how many.
  bool head(char& type, bool& counted, size_t& count) {
    type = 0;
    counted = false;
    if (!rest_.empty() && rest_[0] == '$') {
      rest_.remove_prefix(1);
      if (!take(type) || rest_.empty() || rest_[0] != '#') return false;
    }
    if (!rest_.empty() && rest_[0] == '#') {
      rest_.remove_prefix(1);
      counted = true;
      return length(count);
    }
    return true;
  }

  bool array(int depth, Document& out) {
    char type = 0;
    bool counted = false;
    size_t count = 0;
    if (!head(type, counted, count)) return false;
    if (const size_t bytes = number_bytes(type); bytes > 0) {
      if (!has(count) || !has(count * bytes)) return false;
      Document::Numbers numbers(count);
      for (double& entry : numbers) entry = number(type, bytes);
      out.value = std::move(numbers);
      return true;
    }
    if (type != 0 && type != 'S' && type != '[' && type != '{') return unknown(type);
    return counted ? items(type, count, depth, out) : items(type, SIZE_MAX, depth, out);
  }

  // Up to so many; SIZE_MAX: up to the bracket. Numbers stay numbers until something else comes.
  bool items(char type, size_t count, int depth, Document& out) {
    Document::Numbers numbers;
    Document::Array all;
    while (numbers.size() + all.size() < count) {
      char marker = type;
      if (type == 0 && !take(marker)) return false;
      if (count == SIZE_MAX && marker == ']') break;
      Document item;
      if (!value(marker, depth + 1, item)) return false;
      if (all.empty() && is_number(item)) {
        numbers.push_back(as_number(item));
        continue;
      }
      if (!room_for((1 + numbers.size()) * sizeof(Document))) return false;
      for (const double number : numbers) all.emplace_back().value = number;
      numbers.clear();
      all.push_back(std::move(item));
    }
    if (all.empty())
      out.value = std::move(numbers);
    else
      out.value = std::move(all);
    return true;
  }

  bool object(int depth, Document& out) {
    char type = 0;
    bool counted = false;
    size_t count = 0;
    if (!head(type, counted, count)) return false;
    Document::Object members;
    while (!counted || members.size() < count) {
      if (!counted && !rest_.empty() && rest_[0] == '}') {
        rest_.remove_prefix(1);
        break;
      }
      if (!room_for(sizeof(Member))) return false;
      members.emplace_back();
      char marker = type;
      if (!text(members.back().name) || (type == 0 && !take(marker)) ||
          !value(marker, depth + 1, members.back().value))
        return false;
    }
    out.value = std::move(members);
    return true;
  }

  bool value(char marker, int depth, Document& out) {
    if (depth > kDepthMax) return false;
    if (const size_t bytes = number_bytes(marker); bytes > 0) {
      if (!has(bytes)) return false;
      out.value = number(marker, bytes);
      return true;
    }
    switch (marker) {
      case 'Z':
        return true;
      case 'T':
      case 'F':
        out.value = marker == 'T';
        return true;
      case 'S':
      case 'H':
        return text(out.value.emplace<std::string>());
      case '[':
        return array(depth, out);
      case '{':
        return object(depth, out);
      default:
        return unknown(marker);
    }
  }

  std::string_view rest_;
  size_t room_;
  bool full_ = false, short_ = false;
  char unknown_ = 0;
};

// XGBoost writes numbers that JSON does not have, such as the thresholds of categorical splits: NaN,
// Infinity. As null they are read as NaN.
std::string without_nan(std::string_view json) {
  std::string out(json);
  bool quoted = false;
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i] == '"') quoted = !quoted;
    if (quoted && out[i] == '\\') ++i;
    if (quoted || (out[i] != 'N' && out[i] != 'I' && out[i] != '-')) continue;
    for (const std::string_view word : {"NaN", "Infinity", "-NaN", "-Infinity"}) {
      if (std::string_view(out).substr(i, word.size()) != word) continue;
      out.replace(i, word.size(), std::string(word.size() < 4 ? 0 : word.size() - 4, ' ') + "null");
      break;
    }
  }
  return out;
}

// What a reader of the error would look for: where the text ends too soon, or the word that JSON does not
// have, as other tools print missing values.
std::string json_hint(std::string_view text) {
  const size_t last = text.find_last_not_of(" \t\r\n");
  if (last == std::string_view::npos || text[last] != '}')
    return "; it does not end with }, so it was cut off: save or copy it again";
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') quoted = !quoted;
    if (quoted && text[i] == '\\') ++i;
    if (quoted || i >= text.size() || kLetters.find(text[i]) == std::string_view::npos) continue;
    const std::string_view word = text.substr(i, text.find_first_of(" \t\r\n,:]}\"", i) - i);
    const bool exponent =
        i > 0 && (text[i] == 'e' || text[i] == 'E') && text[i - 1] >= '.' && text[i - 1] <= '9';
    if (word != "true" && word != "false" && word != "null" && !exponent)
      return fmt::format(
          "; \"{}\", {} bytes from its beginning, is no value of JSON: of numbers that are none "
          "only NaN, Infinity and -Infinity are read, as XGBoost writes them",
          word.substr(0, 40), i);
    i += word.size() - 1;
  }
  return "";
}

bool is_text(std::string_view bytes) {
  const size_t start = bytes.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos || bytes[start] != '{') return false;
  const size_t next = bytes.find_first_not_of(" \t\r\n", start + 1);
  return next != std::string_view::npos && (bytes[next] == '"' || bytes[next] == '}');
}

}  // namespace

const Document& Document::operator[](std::string_view name) const {
  static const Document kNull{};
  if (const Object* object = get<Object>()) {
    for (const auto& [key, found] : *object) {
      if (key == name) return found;
    }
  }
  return kNull;
}

Result<Document> parse_document(std::string_view bytes) {
  Document document;
  if (bytes.size() > 1 && bytes[0] == '{' && !is_text(bytes)) {
    UbjsonReader reader(bytes);
    if (!reader.document(document)) return refuse(reader.reason());
    return document;
  }
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  const std::string text = without_nan(bytes);
  if (const auto error = parser.parse(text).get(root))
    return refuse(fmt::format("it is not JSON: {}{}", simdjson::error_message(error), json_hint(text)));
  if (!from_json(root, 0, document)) return refuse(fmt::format("it is nested deeper than {}", kDepthMax));
  return document;
}

bool looks_like_document(std::string_view bytes) {
  if (is_text(bytes)) return true;
  return bytes.size() > 2 && bytes[0] == '{' &&
         std::string_view("iUIlL$#").find(bytes[1]) != std::string_view::npos;
}

}  // namespace shrike::learners
