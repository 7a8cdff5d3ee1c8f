// Where a load's transactions come from: the simulator, a CSV or the log of a data directory. Each gives
// transactions of the server's schema in order of event time, and what is known of their labels. One thread.
#pragma once

#include <memory>
#include <string>

#include <tl/expected.hpp>

#include "engine/config/config.h"
#include "tools/simulator.h"

namespace shrike::tools::bench {

class Source {
 public:
  virtual ~Source() = default;
  // False at the end. `label`: 1 fraud, 0 legitimate, -1 not known. An error ends it too.
  virtual tl::expected<bool, std::string> next(features::Transaction& transaction, int& label) = 0;
};

// The simulator's transactions under the schema's own names: id and time as the schema says, the other fields
// customer_id, terminal_id and amount. `first_id` is the first one's; the stream begins `from_day` days after
// the schema's origin of time. An error names the field that the simulator does not know.
tl::expected<std::unique_ptr<Source>, std::string> simulated(const engine::ConfigPtr& config,
                                                             const SimulationOptions& options,
                                                             int64_t first_id, int from_day);
tl::expected<std::unique_ptr<Source>, std::string> from_csv(const engine::ConfigPtr& config,
                                                            const std::string& path);
// The transactions that a data directory has recorded, in the order in which they were answered, with the
// frauds that its labels tell of. Its schema must be that of `config`.
tl::expected<std::unique_ptr<Source>, std::string> from_log(const engine::ConfigPtr& config,
                                                            const std::string& dir);

// How many customers the simulator needs so that `transactions` of them end before `today_us` (unix): a
// server takes what is dated ahead of its clock for a mistake. At least 5,000.
int customers_for(const features::Schema& schema, double transactions, int from_day, int64_t today_us);

}  // namespace shrike::tools::bench
