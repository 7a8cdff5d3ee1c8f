// Which column of a CSV is what: by the header's exact name, else by the same name in other case. Plain
// functions.
#pragma once

#include <string>
#include <vector>

#include <tl/expected.hpp>

namespace shrike::engine {

// Something that a column may hold.
struct Wanted {
  std::string what;                // for messages, such as "the label"; "" for the name itself
  std::vector<std::string> names;  // any of these; the first is the one to ask for
  bool needed = true;
};

struct Columns {
  std::vector<int> wanted;            // for each column: position among the wanted, or -1
  std::vector<int> column;            // for each wanted: its column, or -1
  std::vector<std::string> left_out;  // columns that are none of the wanted
  std::vector<std::string> notes;     // which names were taken in other case
  std::string missing;                // needed ones without a column, and what may be meant; "" for none
};

// Refuses two columns for one wanted, naming both.
tl::expected<Columns, std::string> match_columns(const std::vector<std::string>& header,
                                                 const std::vector<Wanted>& wanted);

}  // namespace shrike::engine
