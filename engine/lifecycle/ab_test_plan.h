// An A/B test before it begins: what is declared, and what that asks of the traffic. The declaration with its
// plan is the event that begins it (ModelAction::kTested), so that a judgement needs nothing else. Plain
// functions.
//
// How many transactions: of a metric whose single observation has the variance v, the difference of two arms
// with n_1 and n_0 observations has v_1 / n_1 + v_0 / n_0. The v comes from the log and is that among
// entities (see clustered_ratio.h), so what an entity does again counts for as much as it tells. Of a rate p
// the test arm's is that at the rate it would have: in proportion to p (1 - p).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "engine/config/config.h"
#include "engine/fold/error.h"
#include "engine/lifecycle/ab_metrics.h"
#include "engine/lifecycle/planned_test.h"

namespace shrike::engine {

// A metric that may not get worse by more than this share of the champion's.
struct AbGuard {
  std::string metric;
  double tolerated = 0;
};

struct AbTestDeclaration {
  std::string metric;
  double share = 0, significance = 0, power = 0;
  double effect = 0;  // the least difference of interest, as a share of the metric's value
  int64_t longest_us = 0;
  std::vector<AbGuard> guards;
  bool promote = false;  // the challenger becomes champion if it is better; else that is for a person
};

// The metric as the log has it before the test.
struct AbBaseline {
  double value = 0, variance_of_one = 0;
  double per_day = 0;  // observations
  int64_t days = 0;    // that it was taken from
};

struct AbTestPlan {
  AbTestDeclaration declaration;
  AbBaseline baseline;
  double effect = 0;  // absolute
  PlannedTest test;
  double critical = 0, information = 0;  // of `test`
  double needed = 0;                     // observations of both arms together
  double needed_fixed = 0;               // with one look at the end
  double days = 0;                       // until they are there and known
  double longest_days() const;
  bool fits() const { return days <= longest_days(); }
  // What to do when it does not.
  std::string why_not() const;
};

// How long a slot of event time is whose transactions are compared together, where what is to come of one
// comes within this time.
int64_t ab_test_slot_us(int64_t within_us);

struct AbTestAsked {
  AbTestDeclaration declaration;
  bool plan_only = false;  // it does not begin
  bool anyway = false;     // it begins, though its plan does not fit
};

// From
// {"metric","share","significance","power","effect","days","guards":{metric:tolerated},"on_success","plan",
// "anyway","model"}; what is left out is as [ab_test] says.
Result<AbTestAsked> parse_ab_test(const Config& config, std::string_view json);
// The model that it names; "" when it names none or is no JSON.
std::string model_of_ab_test(std::string_view json);

// By what the monitor "kpi" says of the metric in `report`, the monitors' (Fold::watch_report()).
Result<AbTestPlan> plan_ab_test(const Config& config, const AbTestDeclaration& declaration,
                                std::string_view report);

// As JSON text, for people and programs.
std::string to_text(const AbTestPlan& plan);
// The report of the model event that begins it, and the plan from it; an error when it is none.
std::string declaration_text(const AbTestPlan& plan);
tl::expected<AbTestPlan, std::string> read_declaration(std::string_view report);

}  // namespace shrike::engine
