#include "features/schema.h"

#include <gtest/gtest.h>

#include <string>

namespace shrike::features {
namespace {

TEST(ValidUtf8, TakesEveryCharacterAndNothingElse) {
  for (const char* good : {"", "card 4711", "\x7f", "\xc2\x80", "M\xc3\xbcller", "\xe2\x82\xac",
                           "\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(valid_utf8(good)) << good;
    EXPECT_TRUE(valid_utf8(std::string(100, 'a') + good)) << good;
  }
  // Stray and missing continuations, overlong forms, surrogates, beyond U+10FFFF.
  for (const char* bad :
       {"\x80", "\xc2", "\xc2z", "\xc0\xaf", "\xc1\xbf", "\xe2\x82", "\xe0\x9f\xbf", "\xed\xa0\x80",
        "\xed\xbf\xbf", "\xf0\x90\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
    EXPECT_FALSE(valid_utf8(bad)) << bad;
    EXPECT_FALSE(valid_utf8(std::string(100, 'a') + bad)) << bad;
    EXPECT_FALSE(valid_utf8(std::string("a") + bad + "b")) << bad;
  }
}

}  // namespace
}  // namespace shrike::features
