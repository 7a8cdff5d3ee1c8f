#include "learners/formats/recognise.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace shrike::learners {
namespace {

using namespace std::string_view_literals;

constexpr size_t kHead = 4096;  // in which the words of a form must stand

constexpr std::string_view kXgboostRemedy = "booster.save_model(\"model.json\")";
constexpr std::string_view kLightgbmRemedy = "booster.save_model(\"model.txt\")";

struct Mark {
  std::string_view begin, what;
};
constexpr Mark kMarks[] = {
    {"CBM1"sv,
     "it is a model of CatBoost, whose trees are not imported; train with XGBoost or LightGBM, or here"},
    {"PK\x03\x04"sv,
     "it is a zip archive (as of H2O, PyTorch, Spark or skops), not a model file; of XGBoost and LightGBM "
     "import what booster.save_model(\"model.json\") or (\"model.txt\") writes"},
    {"\x1f\x8b"sv, "it is compressed by gzip: unpack it first (gunzip); out of a joblib dump save the model"},
    {"\x28\xb5\x2f\xfd"sv, "it is compressed by zstd: unpack it first (unzstd)"},
    {"BZh"sv, "it is compressed by bzip2: unpack it first (bunzip2); out of a joblib dump save the model"},
    {"\xfd"
     "7zXZ"sv,
     "it is compressed by xz: unpack it first (unxz); out of a joblib dump save the model"},
    {"\x5d\0\0"sv, "it is compressed by lzma: unpack it first (unlzma); out of a joblib dump save the model"},
    {"\x89HDF"sv, "it is an HDF5 file (as of Keras), not a model of XGBoost's or LightGBM's"},
    {"\x93NUMPY"sv, "it is an array of NumPy's, not a model"},
    {"PAR1"sv, "it is a Parquet table, not a model"},
    {"bs64\t"sv,
     "it is XGBoost's old text of its binary form; load it with the xgboost that wrote it and "
     "booster.save_model(\"model.json\")"},
    {"{'"sv,
     "it is Python's text of a dict, not JSON: XGBoost's model is what "
     "booster.save_model(\"model.json\") writes"},
};

bool contains(std::string_view text, std::string_view word) {
  return text.find(word) != std::string_view::npos;
}

bool read_u32(std::string_view bytes, size_t at, uint32_t& out) {
  if (bytes.size() < at + sizeof(out)) return false;
  std::memcpy(&out, bytes.data() + at, sizeof(out));
  return true;
}

// A length of 64 bits and so many characters; how XGBoost's old form holds the names of objective and
// booster.
std::string_view old_text(std::string_view bytes, size_t at) {
  uint32_t low = 0, high = 0;
  if (!read_u32(bytes, at, low) || !read_u32(bytes, at + 4, high) || high != 0 || low > 64) return {};
  return bytes.substr(std::min(bytes.size(), at + 8), low);
}

// XGBoost's binary form of versions up to 3.0: four letters, which the oldest leave out, 136 bytes of
// parameters, and the two names.
bool is_old_xgboost(std::string_view bytes) {
  if (bytes.starts_with("binf")) return true;
  const std::string_view objective = old_text(bytes, 136);
  if (objective.empty()) return false;
  const std::string_view booster = old_text(bytes, 136 + 8 + objective.size());
  return booster == "gbtree" || booster == "gblinear" || booster == "dart";
}

// Vowpal Wabbit's regressor: the length of its version's text, the text, its final 0; or the readable form.
bool is_vowpal_wabbit(std::string_view bytes) {
  if (bytes.starts_with("Version ") && contains(bytes.substr(0, kHead), "Min label:")) return true;
  uint32_t length = 0;
  if (!read_u32(bytes, 0, length) || length < 4 || length > 32 || bytes.size() < 4 + length) return false;
  const std::string_view text = bytes.substr(4, length - 1);
  return text.find_first_not_of("0123456789.") == std::string_view::npos && contains(text, ".") &&
         bytes[3 + length] == '\0';
}

// A message of Protobuf whose first field is the form's version and whose second is a text: who made it.
bool is_onnx(std::string_view bytes) {
  return bytes.size() > 4 && bytes[0] == 0x08 && bytes[1] > 0 && bytes[1] < 64 &&
         (bytes[2] == 0x12 || bytes[2] == 0x3a || bytes[2] == 0x42) &&
         (contains(bytes, "ai.onnx") || contains(bytes, "onnx") || contains(bytes, "TreeEnsemble"));
}

// Protocols 2 to 5 begin with a byte and their number, the oldest with the function that makes the object.
bool is_pickle(std::string_view bytes) {
  return (bytes.size() > 1 && bytes[0] == '\x80' && bytes[1] >= 2 && bytes[1] <= 5) ||
         bytes.starts_with("ccopy_reg\n");
}

// A class is named before its object, and LightGBM's parameters name XGBoost.
std::string pickle_of(std::string_view bytes) {
  const std::string form = "it is a pickle (or joblib dump) of Python's";
  const size_t xgboost = bytes.find("xgboost"), lightgbm = bytes.find("lightgbm");
  if (xgboost < lightgbm)
    return fmt::format("{} with a model of XGBoost in it; load it there and {}", form, kXgboostRemedy);
  if (lightgbm < xgboost)
    return fmt::format(
        "{} with a model of LightGBM in it; load it there and {} (of a LGBMClassifier: "
        "model.booster_)",
        form, kLightgbmRemedy);
  return fmt::format("{}, which is not imported; of XGBoost {}, of LightGBM {}", form, kXgboostRemedy,
                     kLightgbmRemedy);
}

bool is_zlib(std::string_view bytes) {
  return bytes.size() > 2 && bytes[0] == 0x78 &&
         (static_cast<uint8_t>(bytes[0]) * 256 + static_cast<uint8_t>(bytes[1])) % 31 == 0;
}

}  // namespace

std::string name_foreign(std::string_view bytes) {
  const std::string_view head = bytes.substr(0, kHead);
  const size_t start = head.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos) return "it is empty";
  for (const Mark& mark : kMarks) {
    if (bytes.starts_with(mark.begin)) return std::string(mark.what);
  }
  if (is_pickle(bytes)) return pickle_of(bytes);
  if (is_zlib(bytes))
    return fmt::format("it is compressed by zlib, as joblib's dumps are; load it in Python and {}",
                       kXgboostRemedy);
  if (is_old_xgboost(bytes))
    return fmt::format(
        "it is a model in XGBoost's old binary form; load it with the xgboost that wrote it (up to "
        "3.0) and {}",
        kXgboostRemedy);
  if (is_vowpal_wabbit(bytes))
    return "it is a model of Vowpal Wabbit, which is not imported: its features are hashes; the family "
           "`linear` learns alike";
  if (is_onnx(bytes))
    return fmt::format("it is an ONNX file, which is not imported; of XGBoost {}, of LightGBM {}",
                       kXgboostRemedy, kLightgbmRemedy);
  const std::string_view text = head.substr(start);
  if (contains(head, "<PMML"))
    return fmt::format("it is PMML, which is not imported; of XGBoost {}, of LightGBM {}", kXgboostRemedy,
                       kLightgbmRemedy);
  if (text[0] == '<') return "it is XML or HTML, not a model; a download may have failed";
  if (text.starts_with("booster[") || text.starts_with("0:[") || text.starts_with("0:leaf") ||
      (text[0] == '[' && contains(head, "\"nodeid\"")))
    return fmt::format("it is a dump of XGBoost's (dump_model), which leaves out what scoring needs: {}",
                       kXgboostRemedy);
  if (text.starts_with("tree\n") || text.starts_with("tree\r\n") || text == "tree")
    return fmt::format("it begins like a model of LightGBM and was cut off; save or copy it again: {}",
                       kLightgbmRemedy);
  return "";
}

std::string name_foreign(const Document& document) {
  const auto has = [&](std::string_view name) {
    return !std::holds_alternative<std::monostate>(document[name].value);
  };
  if (has("tree_info") && has("feature_names"))
    return fmt::format("it is LightGBM's dump_model; import its text instead: {}", kLightgbmRemedy);
  if (has("oblivious_trees") || (has("features_info") && has("model_info")))
    return "it is a model of CatBoost, whose trees are not imported; train with XGBoost or LightGBM, or here";
  if (has("Model") && has("Config"))
    return fmt::format("it is a snapshot of XGBoost's memory, as in pickles; load it there and {}",
                       kXgboostRemedy);
  if (has("nodeid"))
    return fmt::format("it is a dump of XGBoost's (dump_model), which leaves out what scoring needs: {}",
                       kXgboostRemedy);
  const std::string* format = document["format"].get<std::string>();
  if (format != nullptr && *format == "shrike-linear")
    return "it is our JSON of a linear model, which is for other tools; `shrike models export` writes "
           "without --format what can be imported again";
  if (document["learner"]["generic_param"].get<Document::Object>() != nullptr)
    return fmt::format("it is a configuration of XGBoost's (save_config), which has no trees: {}",
                       kXgboostRemedy);
  return "";
}

}  // namespace shrike::learners
