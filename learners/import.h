// Models trained elsewhere, as ours: they score with our kernels, give reasons, and may be champion. Plain
// functions of bytes; no file.
#pragma once

#include <string_view>
#include <vector>

#include "learners/error.h"
#include "learners/model.h"

namespace shrike::learners {

// An XGBoost model as `Booster.save_model("model.json")` writes it (versions 1.3 and later): gbtree for
// binary classification (binary:logistic, binary:logitraw, reg:logistic), numeric splits, missing values. Its
// margins come out equal to the bit; its probabilities to the last few bits of a float (the exponential
// function is ours).
//
// `columns` is what rows will have. Features are found by name when the model knows names, else by position.
// Errors name what cannot be imported.
Result<ModelPtr> import_xgboost(std::string_view json, std::vector<Column> columns);

// A model from either form: serialize()'s bytes, or such a file.
Result<ModelPtr> read_model(std::string_view bytes, const std::vector<Column>& columns);

// Whether bytes look like such a file, rather than like serialize()'s.
bool looks_like_xgboost(std::string_view bytes);

}  // namespace shrike::learners
