// Classes of characters against PCRE2's, and normal forms against their own laws.
#include "text/unicode.h"

#include <gtest/gtest.h>

#include <random>

#include "base/utf8.h"
#include "text/regex.h"
#include "text/testing_tokenizer.h"

namespace octavo::text {
namespace {

TEST(CharTable, WhiteSpaceIsTheProperty) {
  const auto space = Regex::compile("\\s").value();
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(text, c);
    size_t begin, end;
    ASSERT_EQ(space->find(text, 0, begin, end).value(), CharTable::get().is(c, kSpace))
        << static_cast<uint32_t>(c);
  }
}

TEST(Normalize, AgreesWithTheWholeTextAtOnce) {
  // A text's normal form does not depend on the stretches in which it was rewritten: that of each
  // prefix, then the rest, is that of the whole.
  std::mt19937 rng(3);
  for (const auto form :
       {NormalForm::kNfc, NormalForm::kNfd, NormalForm::kNfkc, NormalForm::kNfkd}) {
    for (int round = 0; round < 3000; ++round) {
      const std::string text = random_tokenizer_text(rng, 12);
      const std::string whole = normalize(text, form);
      EXPECT_EQ(normalize(whole, form), whole);
      EXPECT_EQ(normalize(normalize(text, NormalForm::kNfd), NormalForm::kNfc),
                normalize(text, NormalForm::kNfc));
      EXPECT_EQ(normalize(normalize(text, NormalForm::kNfkd), NormalForm::kNfkc),
                normalize(text, NormalForm::kNfkc));
    }
  }
  EXPECT_EQ(normalize("e\xCC\x81", NormalForm::kNfc), "é");
  EXPECT_EQ(normalize("\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", NormalForm::kNfc), "한");
  EXPECT_EQ(normalize("ﬁ", NormalForm::kNfkc), "fi");
}

}  // namespace
}  // namespace octavo::text
