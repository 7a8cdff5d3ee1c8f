// Models trained elsewhere, as ours: they score with our kernels, give reasons, and may be champion. Plain
// functions of bytes; no file.
//
// `columns` is what rows will have. Features are found by name when the model knows names, else by position.
// A whole model's sets of categories may take kSetBytesMax (trees/tree.h).
// Errors name what cannot be imported, and what to do. `notes`, where given, gets a sentence for what a user
// should know of a model that was: what of the file is left out, and whose codes its columns must hold.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "learners/error.h"
#include "learners/model.h"

namespace shrike::learners {

using Notes = std::vector<std::string>;

// An XGBoost model as `Booster.save_model` writes it, JSON or UBJSON (versions 1.3 to 3): gbtree or dart for
// binary classification (binary:logistic, binary:logitraw, reg:logistic), numeric and categorical splits,
// missing values. Its margins come out equal to the bit (of dart those of `predict`; `inplace_predict` rounds
// each tree once more); its probabilities to the last few bits of a float (the exponential function is ours).
// A model that was stopped early (attribute best_iteration) is its trees up to that iteration, as
// `predict_proba` has it.
//
// A categorical column holds XGBoost's codes (0, 1, …). As XGBoost 1.7 and later has it: a code's fraction is
// cut off; negative codes, and those of 2^24 and more, are in no split's set and go left there; NaN goes
// where the node says.
Result<ModelPtr> import_xgboost(std::string_view bytes, std::vector<Column> columns, Notes* notes = nullptr);

// A LightGBM model as `Booster.save_model` writes it (text, versions 2.3 to 4): gbdt, dart, goss or rf for
// binary classification (objectives binary and cross_entropy), numeric and categorical splits, every kind of
// missing value. No linear trees. Leaves are summed in double, as LightGBM does: margin() equals
// `predict(raw_score=True)` of float32 rows to the bit. The calibration's slope is the model's sigmoid
// parameter, for rf divided by the number of trees.
//
// A categorical column holds LightGBM's codes. As LightGBM has it: a code's fraction is cut off, towards
// zero; negative codes and NaN are in no split's set and go right.
Result<ModelPtr> import_lightgbm(std::string_view text, std::vector<Column> columns, Notes* notes = nullptr);

// A model from any form: serialize()'s bytes, or such a file, told apart by how they begin. The error for a
// file of another form (a pickle, an archive, a dump) says what it is and what to save instead.
Result<ModelPtr> read_model(std::string_view bytes, const std::vector<Column>& columns,
                            Notes* notes = nullptr);

}  // namespace shrike::learners
