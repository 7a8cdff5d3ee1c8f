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

bool is_number(const Document& one) { return one.value.index() <= 2; }

double as_number(const Document& one) {
  if (const bool* flag = one.get<bool>()) return *flag ? 1 : 0;
  const double* number = one.get<double>();
  return number != nullptr ? *number : std::numeric_limits<double>::quiet_NaN();
}

Document from_items(Document::Array items) {
  if (!std::all_of(items.begin(), items.end(), is_number)) return {std::move(items)};
  Document::Numbers numbers(items.size());
  std::transform(items.begin(), items.end(), numbers.begin(), as_number);
  return {std::move(numbers)};
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
      Document::Array items;
      for (const auto value : values) {
        items.emplace_back();
        if (!from_json(value, depth + 1, items.back())) return false;
      }
      out = from_items(std::move(items));
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
  explicit UbjsonReader(std::string_view bytes) : rest_(bytes) {}

  bool document(Document& out) {
    char marker = 0;
    return take(marker) && marker == '{' && value(marker, 0, out);
  }
  size_t left() const { return rest_.size(); }

 private:
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
    if (rest_.empty()) return false;
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
    if (bytes == 0 || bytes > rest_.size()) return false;
    const double found = number(marker, bytes);
    if (!(found >= 0 && found <= static_cast<double>(rest_.size()))) return false;
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
      if (count > rest_.size() / bytes) return false;
      Document::Numbers numbers(count);
      for (double& one : numbers) one = number(type, bytes);
      out.value = std::move(numbers);
      return true;
    }
    if (type != 0 && type != 'S' && type != '[' && type != '{') return false;
    Document::Array items;
    while (!counted || items.size() < count) {
      char marker = type;
      if (type == 0 && !take(marker)) return false;
      if (!counted && marker == ']') break;
      items.emplace_back();
      if (!value(marker, depth + 1, items.back())) return false;
    }
    out = from_items(std::move(items));
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
      if (bytes > rest_.size()) return false;
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
        return false;
    }
  }

  std::string_view rest_;
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
    if (!reader.document(document))
      return refuse(fmt::format("it is neither JSON nor UBJSON: as UBJSON it breaks {} bytes from its end",
                                reader.left()));
    return document;
  }
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  const std::string text = without_nan(bytes);
  if (const auto error = parser.parse(text).get(root))
    return refuse(fmt::format("it is not JSON: {}", simdjson::error_message(error)));
  if (!from_json(root, 0, document)) return refuse(fmt::format("it is nested deeper than {}", kDepthMax));
  return document;
}

bool looks_like_document(std::string_view bytes) {
  if (is_text(bytes)) return true;
  return bytes.size() > 2 && bytes[0] == '{' &&
         std::string_view("iUIlL$#").find(bytes[1]) != std::string_view::npos;
}

}  // namespace shrike::learners
