// What a file is that no importer reads, told by how it begins: users bring pickles, archives and dumps.
// Plain functions; internal to learners/.
#pragma once

#include <string>
#include <string_view>

#include "learners/formats/document.h"

namespace shrike::learners {

// What the bytes are and what to save instead, a sentence for an error; empty when they are of no known form.
std::string name_foreign(std::string_view bytes);
// The same of a JSON or UBJSON that is no model of XGBoost's.
std::string name_foreign(const Document& document);

}  // namespace shrike::learners
