// Expressions: any text is refused with a column, or compiles, and then runs on transactions with everything
// and with nothing.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "features/feature_store.h"

using namespace shrike::features;

namespace {

Schema schema() {
  Schema made;
  made.fields = {{"id", FieldType::kInteger, 0, -9.2e18, 9.2e18},
                 {"at", FieldType::kTime},
                 {"amount", FieldType::kNumber, 2, -1e6, 1e6, true},
                 {"mobile", FieldType::kBoolean, 0, 0, 0, true},
                 {"email", FieldType::kText, 0, 0, 0, true}};
  made.time = 1;
  made.entities = {{"one", {0}, 10}};
  return made;
}

Transaction transaction(const Schema& of, bool full) {
  Transaction made;
  made.reset(of);
  (void)set_integer(of, 0, 1, made);
  (void)set_integer(of, 1, 1'532'500'245, made);
  if (full) {
    (void)set_number(of, 2, -12.5, made);
    (void)set_boolean(of, 3, true, made);
    (void)set_text(of, 4, "Jo@GMail.Com", made);
  }
  (void)finish(of, made);
  return made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Schema kSchema = schema();
  static const Transaction kFull = transaction(kSchema, true), kEmpty = transaction(kSchema, false);
  const std::string text(reinterpret_cast<const char*>(data), size);
  PlanOptions options;
  options.zones = [](std::string_view name) {
    return parse_offsets(name, "3600 1521939600:7200 1540688400:3600");
  };
  const FeatureSpec counted{.name = "n",
                            .aggregate = Aggregate::kCount,
                            .entity = "one",
                            .windows_us = {kDayUs},
                            .where = "is_missing(x) or not is_missing(x)"};
  auto plan = compile(kSchema, {{.name = "x", .input = text}, counted}, options);
  if (!plan) return plan.error().reason.empty() ? std::abort(), 0 : 0;
  FeatureStore store(std::make_shared<const Plan>(std::move(*plan)));
  std::vector<float> row(store.plan().columns.size());
  for (const Transaction* one : {&kFull, &kEmpty}) {
    store.apply(*one, 1, row);
    for (const float value : row)
      if (std::isinf(value)) std::abort();
  }
  if (row.back() != 2) std::abort();  // every event counts, whatever x is
  return 0;
}
