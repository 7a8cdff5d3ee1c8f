// Models of ours for other tools. Plain functions of models; no file. Errors say which form would do.
#pragma once

#include <string>

#include "learners/error.h"
#include "learners/model.h"

namespace shrike::learners {

// A tree ensemble as XGBoost's JSON (`Booster.load_model`, version 1.7 and later), objective binary:logistic.
// Its margins there equal margin() to the bit; the base is the first tree, a lone leaf. XGBoost has no place
// for our calibration: the probability it gives is that of the raw margin. The attributes shrike_slope and
// shrike_shift hold what score() makes of it: 1 / (1 + e^-(slope * margin + shift)). A forest, whose leaves
// add up to a probability, is exported with objective reg:squarederror: XGBoost predicts that sum; its
// log-odds are margin().
//
// Refused: other families, and models that XGBoost cannot hold, such as those imported from LightGBM, or that
// it could hold only in hundreds of megabytes: those with many sets of hashed categories.
Result<std::string> export_xgboost(const Model& model);

// Where XGBoost's prediction of such an export is not our score, a sentence for the user: how ours is
// computed from it. Empty when the two are the same.
std::string note_xgboost_export(const Model& model);

// A linear model as JSON:
//   {"format": "shrike-linear", "version": 1, "bias", "slope", "shift", "hash_bits", "hash_multiplier",
//    "columns": [{"name", "kind": "numeric", "cuts": [rising], "weights": [cuts + 1], "missing"},
//                {"name", "kind": "categorical", "weights": [2^hash_bits], "missing"}]}
// and, where there are pairs of columns, with version 2:
//    "pairs": [{"columns": [first, second], "weights": [64]}]
// margin = bias + one weight per column, summed in float in the order of the columns, + one weight per pair;
// probability = 1 / (1 + e^-(slope * margin + shift)).
// A numeric value takes the weight whose index is the number of cuts <= it; a category in [0, 2^24) the
// weight at (category * hash_multiplier mod 2^32) >> (32 - hash_bits); NaN, and other categories, take
// `missing`. A pair takes the weight at 8 * the coarse bin of its first column + that of its second: 7 where
// the column takes `missing`, else index * floor(65536 * min(7, cuts + 1) / (cuts + 1)) >> 16 for a numeric
// column and index * 7 >> hash_bits for a categorical one, `index` being that of the weight which the column
// takes.
Result<std::string> export_json(const Model& model);

}  // namespace shrike::learners
