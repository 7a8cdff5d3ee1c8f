#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <span>

#include "learners/formats/import.h"
#include "learners/formats/import_parts.h"
#include "learners/trees/model.h"

namespace shrike::learners {
namespace {

// LightGBM's decision_type: bit 0 categorical, bit 1 missing goes left, bits 2 and 3 what is missing.
enum class Missing { kNone = 0, kZero = 1, kNaN = 2 };

std::string_view next_line(std::string_view& text) {
  const size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

// Empty at the end.
std::string_view next_word(std::string_view& text) {
  text.remove_prefix(std::min(text.size(), text.find_first_not_of(" \t")));
  const std::string_view word = text.substr(0, text.find_first_of(" \t"));
  text.remove_prefix(word.size());
  return word;
}

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> all;
  for (std::string_view word = next_word(text); !word.empty(); word = next_word(text)) all.push_back(word);
  return all;
}

template <typename T>
bool parse(std::string_view word, T& out) {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out);
  return error == std::errc() && end == word.data() + word.size();
}

// `name=value` lines up to the first line that is none; the last of two of one name counts.
class Section {
 public:
  explicit Section(std::string_view& text) {
    while (!text.empty()) {
      std::string_view rest = text;
      const std::string_view line = next_line(rest);
      const size_t equals = line.find('=');
      const bool begins_tree = line.starts_with("Tree=");
      if (line.empty() || begins_tree) {
        if (!lines_.empty() || begins_tree) break;
      } else if (equals == std::string_view::npos) {
        lines_.emplace_back(line, "");
      } else {
        lines_.emplace_back(line.substr(0, equals), line.substr(equals + 1));
      }
      text = rest;
    }
  }

  const std::string_view* find(std::string_view name) const {
    for (auto line = lines_.rbegin(); line != lines_.rend(); ++line) {
      if (line->first == name) return &line->second;
    }
    return nullptr;
  }
  template <typename T>
  bool number(std::string_view name, T& out) const {
    const std::string_view* text = find(name);
    return text != nullptr && parse(*text, out);
  }
  template <typename T>
  bool numbers(std::string_view name, size_t size, std::vector<T>& out) const {
    const std::string_view* text = find(name);
    if (text == nullptr) return size == 0;
    std::string_view rest = *text;
    for (std::string_view word = next_word(rest); !word.empty(); word = next_word(rest)) {
      out.emplace_back();
      if (!parse(word, out.back())) return false;
    }
    return out.size() == size;
  }

 private:
  std::vector<std::pair<std::string_view, std::string_view>> lines_;
};

// The float f for which `v < f` is what LightGBM decides of every float v: `v <= threshold`, where a v within
// +-1e-35 counts as 0.
float below(double threshold) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kMax = std::numeric_limits<float>::max();
  constexpr double kZero = Tree::kZero;
  if (threshold >= -kZero && threshold < 0) return -Tree::kZero;
  if (threshold >= 0 && threshold < kZero) threshold = kZero;
  if (threshold >= static_cast<double>(kMax)) return kInfinity;
  if (threshold < -static_cast<double>(kMax)) return -kMax;
  const auto nearest = static_cast<float>(threshold);
  return static_cast<double>(nearest) > threshold ? nearest : std::nextafter(nearest, kInfinity);
}

// The nodes of one tree: its splits, then its leaves.
struct TreeReader {
  const Section& section;
  const std::vector<int32_t>& column_of;
  SetBudget& budget;
  std::string where;

  Result<Tree> read() const {
    int64_t leaf_count = 0, categorical_count = 0, linear = 0;
    if (!section.number("num_leaves", leaf_count) || leaf_count < 1)
      return refuse(where, "num_leaves is missing or not positive");
    if (section.number("is_linear", linear) && linear != 0)
      return refuse(where, "it is a linear tree; train with linear_tree=false");
    const std::string_view* values = section.find("leaf_value");
    if (values == nullptr || static_cast<size_t>(leaf_count) > values->size())
      return refuse(where, "leaf_value is missing or shorter than num_leaves");
    (void)section.number("num_cat", categorical_count);
    const auto leaves = static_cast<size_t>(leaf_count), splits = leaves - 1;
    std::vector<double> leaf_value, leaf_cover, split_cover, threshold;
    std::vector<int64_t> feature, decision, left, right, bounds;
    std::vector<uint32_t> categories;
    if (!section.numbers("leaf_value", leaves, leaf_value) ||
        !section.numbers("split_feature", splits, feature) ||
        !section.numbers("threshold", splits, threshold) ||
        !section.numbers("decision_type", splits, decision) || !section.numbers("left_child", splits, left) ||
        !section.numbers("right_child", splits, right))
      return refuse(where, "an array of its nodes is missing, is not of numbers or is of another length");
    // A tree of one leaf has no counts.
    if (splits > 0 && (!section.numbers("leaf_count", leaves, leaf_cover) ||
                       !section.numbers("internal_count", splits, split_cover)))
      return refuse(where, "leaf_count or internal_count is missing or of another length");
    leaf_cover.resize(leaves);
    if (categorical_count > 0) {
      const std::string_view* bits = section.find("cat_threshold");
      const std::string_view* boundaries = section.find("cat_boundaries");
      if (bits == nullptr || boundaries == nullptr ||
          static_cast<uint64_t>(categorical_count) > boundaries->size() ||
          !section.numbers("cat_boundaries", static_cast<size_t>(categorical_count) + 1, bounds) ||
          !section.numbers("cat_threshold", words(*bits).size(), categories))
        return refuse(where, "cat_boundaries or cat_threshold is missing or damaged");
    }
    std::vector<ForeignNode> nodes(splits + leaves);
    for (size_t i = 0; i < splits; ++i) {
      ForeignNode& to = nodes[i];
      if (feature[i] < 0 || static_cast<size_t>(feature[i]) >= column_of.size())
        return refuse(where, fmt::format("split {} is on a feature that the model does not have", i));
      to.node.column = column_of[static_cast<size_t>(feature[i])];
      to.node.cover = static_cast<float>(split_cover[i]);
      to.left = child(left[i], splits, leaves);
      to.right = child(right[i], splits, leaves);
      if (decision[i] < 0 || decision[i] >= 12)
        return refuse(where, fmt::format("split {} has the unknown decision_type {}", i, decision[i]));
      if ((decision[i] & 1) == 0) {
        read_threshold(threshold[i], decision[i], to.node);
        continue;
      }
      const auto set = find_set(threshold[i], bounds, categories);
      if (!set)
        return refuse(where, fmt::format("the set of categories of split {} is out of range: codes must be "
                                         "below 2^24",
                                         i));
      // Splits may name one set, and each gets its own.
      if (!budget.take(set->size())) return SetBudget::refusal(where);
      to.set.assign(set->begin(), set->end());
      to.node.test = SplitTest::kMemberTowardZero;
    }
    for (size_t i = 0; i < leaves; ++i) {
      nodes[splits + i].exact = leaf_value[i];
      nodes[splits + i].node.value = static_cast<float>(leaf_value[i]);
      nodes[splits + i].node.cover = static_cast<float>(leaf_cover[i]);
    }
    return order_tree(std::move(nodes), 0, true, where);
  }

  static int64_t child(int64_t index, size_t splits, size_t leaves) {
    const int64_t at = index >= 0 ? index : ~index;
    if (at >= static_cast<int64_t>(index >= 0 ? splits : leaves)) return -1;
    return index >= 0 ? at : at + static_cast<int64_t>(splits);
  }

  static void read_threshold(double threshold, int64_t decision, TreeNode& node) {
    node.value = threshold == threshold ? below(threshold) : std::numeric_limits<float>::quiet_NaN();
    const auto missing = static_cast<Missing>(decision >> 2 & 3);
    node.missing_left = (decision & 2) != 0;
    // A NaN where none is known counts as 0.
    if (missing == Missing::kNone) node.missing_left = 0 < node.value;
    if (missing == Missing::kZero) node.test = SplitTest::kBelowZeroMissing;
  }

  static std::optional<std::span<const uint32_t>> find_set(double which, const std::vector<int64_t>& bounds,
                                                           const std::vector<uint32_t>& categories) {
    if (!(which >= 0 && which + 1 < static_cast<double>(bounds.size()))) return std::nullopt;
    const int64_t begin = bounds[static_cast<size_t>(which)], end = bounds[static_cast<size_t>(which) + 1];
    if (begin < 0 || end < begin || end > static_cast<int64_t>(categories.size()) ||
        end - begin > int64_t{kCategoriesMax / 32})
      return std::nullopt;
    return std::span(categories).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  }
};

// LightGBM names the features of a nameless matrix so.
bool is_nameless(const std::vector<std::string>& names) {
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] != fmt::format("Column_{}", i)) return false;
  }
  return true;
}

struct Head {
  double sigmoid = 1;
  std::vector<int32_t> column_of;
};

Result<Head> read_head(const Section& head, const std::vector<Column>& columns) {
  const std::string_view* version = head.find("version");
  if (version == nullptr || (*version != "v2" && *version != "v3" && *version != "v4"))
    return refuse("version", fmt::format("found \"{}\", allowed are v2, v3, v4", version ? *version : ""));
  const std::string_view* found = head.find("objective");
  const std::vector<std::string_view> objective =
      found == nullptr ? std::vector<std::string_view>{} : words(*found);
  if (objective.empty() ||
      (objective[0] != "binary" && objective[0] != "cross_entropy" && objective[0] != "xentropy")) {
    return refuse("objective", fmt::format("found \"{}\", allowed are binary and cross_entropy",
                                           found == nullptr ? "" : *found));
  }
  Head out;
  for (const std::string_view word : objective) {
    if (word.starts_with("sigmoid:") &&
        (!parse(word.substr(8), out.sigmoid) || !(out.sigmoid > 0 && out.sigmoid < 1e6)))
      return refuse("objective", "its sigmoid is not a positive number");
  }
  int64_t per_iteration = 1, last_feature = -1;
  if (head.number("num_tree_per_iteration", per_iteration) && per_iteration != 1)
    return refuse("num_tree_per_iteration", fmt::format("found {}, only 1 can be imported", per_iteration));
  const std::string_view* named = head.find("feature_names");
  if (!head.number("max_feature_idx", last_feature) || last_feature < 0 || last_feature >= 1'000'000 ||
      named == nullptr)
    return refuse("max_feature_idx", "it or feature_names is missing or out of range");
  std::vector<std::string> names;
  for (const std::string_view name : words(*named)) names.emplace_back(name);
  if (names.size() != static_cast<size_t>(last_feature) + 1)
    return refuse("feature_names", fmt::format("found {} of them, expected {}; names must have no spaces",
                                               names.size(), last_feature + 1));
  if (is_nameless(names) && std::none_of(columns.begin(), columns.end(),
                                         [&](const Column& column) { return column.name == names[0]; }))
    names.clear();
  auto column_of = match_columns(names, static_cast<size_t>(last_feature) + 1, columns, "feature_names",
                                 "max_feature_idx");
  if (!column_of) return tl::make_unexpected(column_of.error());
  out.column_of = std::move(*column_of);
  return out;
}

size_t count_trees(std::string_view text) {
  size_t count = 0;
  for (size_t at = text.find("\nTree="); at != std::string_view::npos; at = text.find("\nTree=", at + 1))
    ++count;
  return count;
}

}  // namespace

bool looks_like_lightgbm(std::string_view bytes) {
  return next_line(bytes) == "tree" && bytes.find("version=v") < 100;
}

Result<ModelPtr> import_lightgbm(std::string_view text, std::vector<Column> columns, Notes* notes) {
  if (!looks_like_lightgbm(text)) return refuse("", "it is not a model saved by LightGBM as text");
  if (text.find("\nend of trees") == std::string_view::npos)
    return refuse(
        "", fmt::format("the file ends after {} bytes and {} trees before \"end of trees\": it was cut off; "
                        "save or copy it again",
                        text.size(), count_trees(text)));
  (void)next_line(text);
  const Section section(text);
  const auto head = read_head(section, columns);
  if (!head) return tl::make_unexpected(head.error());
  std::vector<Tree> trees;
  SetBudget budget;
  while (true) {
    if (const Section last(text); last.find("end of trees") != nullptr) break;
    if (!text.starts_with("Tree=")) return refuse("", "a tree was expected");
    (void)next_line(text);
    const Section body(text);
    auto tree = TreeReader{body, head->column_of, budget, fmt::format("Tree={}", trees.size())}.read();
    if (!tree) return tl::make_unexpected(tree.error());
    trees.push_back(std::move(*tree));
  }
  double sigmoid = head->sigmoid;
  if (section.find("average_output") != nullptr && !trees.empty())
    sigmoid /= static_cast<double>(trees.size());
  if (notes != nullptr) {
    for (std::string& note : note_codes(trees, columns, "LightGBM")) notes->push_back(std::move(note));
  }
  return make_tree_model("boosting", std::move(columns), 0, std::move(trees),
                         {static_cast<float>(sigmoid), 0}, "lightgbm");
}

}  // namespace shrike::learners
