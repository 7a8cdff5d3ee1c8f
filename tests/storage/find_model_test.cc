#include "storage/find_model.h"

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace shrike::storage {
namespace {

TEST(FindModel, OneThatBeginsSoOrWhichOnesDo) {
  const TempDir folder;
  auto store = Store::open(folder / "data", {});
  ASSERT_TRUE(store) << store.error().reason;
  for (const char* hash : {"3f2a", "3f2b", "41cc"}) ASSERT_TRUE((*store)->put_model(hash, "bytes"));
  EXPECT_EQ(find_model(**store, "4").value(), "41cc");
  EXPECT_EQ(find_model(**store, "3f2b").value(), "3f2b");
  const auto several = find_model(**store, "3f");
  ASSERT_FALSE(several);
  EXPECT_EQ(several.error().reason, "2 models begin with \"3f\": 3f2a, 3f2b; give more of the one meant");
  for (const char* none : {"5", "", "41ccd"}) {
    const auto found = find_model(**store, none);
    ASSERT_FALSE(found) << none;
    EXPECT_EQ(found.error().code, ErrorCode::kNotFound);
  }
}

}  // namespace
}  // namespace shrike::storage
