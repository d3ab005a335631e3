// The scanners by hand against the regular expressions that they stand for, run by PCRE2.
#include "text/pattern_scanner.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "text/regex.h"
#include "text/testing_tokenizer.h"

namespace octavo::text {
namespace {

constexpr KnownPattern kAll[] = {KnownPattern::kGpt2,           KnownPattern::kLlama3,
                                 KnownPattern::kQwen2,          KnownPattern::kO200k,
                                 KnownPattern::kDeepseekDigits, KnownPattern::kDeepseekCjk,
                                 KnownPattern::kDeepseekWords};

const std::vector<std::string> kParts = {"a",
                                         "b",
                                         "Z",
                                         "Q",
                                         "s",
                                         "t",
                                         "'",
                                         "'s",
                                         "'LL",
                                         "'Re",
                                         "'d",
                                         "\xC5\xBF",
                                         " ",
                                         "  ",
                                         "\n",
                                         "\r\n",
                                         "\t",
                                         "\xE3\x80\x80",
                                         "0",
                                         "7",
                                         "\xC2\xB2",
                                         ".",
                                         ",",
                                         "/",
                                         "$",
                                         "+",
                                         "_",
                                         "!",
                                         "é",
                                         "É",
                                         "ß",
                                         "ǅ",
                                         "ª",
                                         "ʰ",
                                         "中",
                                         "文",
                                         "龥",
                                         "の",
                                         "ー",
                                         "한",
                                         "ا",
                                         "\xCC\x81",
                                         "\xE0\xA4\xBE",
                                         "☃",
                                         "€",
                                         "🙂",
                                         "\x01",
                                         "\xE2\x80\x8B",
                                         "\xCD\xB8"};

std::string random_text(std::mt19937& rng, size_t parts) {
  std::string text;
  for (size_t i = 0; i < parts; ++i) {
    if (rng() % 12 != 0) {
      text += kParts[rng() % kParts.size()];
      continue;
    }
    const char32_t c = rng() % 4 == 0 ? rng() % 0x110000 : rng() % 0x3000;
    append_utf8(text, c >= 0xD800 && c < 0xE000 ? U'x' : c);
  }
  return text;
}

// PCRE2's Unicode may be another version than ours: a text with a character on whose class the two
// disagree proves nothing.
class Agreement {
 public:
  bool on(std::string_view text) const {
    const CharTable& table = CharTable::get();
    for (size_t i = 0; i < text.size();) {
      int length = 0;
      const char32_t c = decode_valid(text.data() + i, length);
      for (const Class& known : classes_) {
        size_t begin, end;
        const bool theirs =
            known.regex->find(text.substr(i, static_cast<size_t>(length)), 0, begin, end).value();
        if (theirs != table.is(c, known.bit)) return false;
      }
      i += static_cast<size_t>(length);
    }
    return true;
  }

 private:
  struct Class {
    uint8_t bit;
    std::shared_ptr<const Regex> regex;
  };
  const std::vector<Class> classes_ = {{kLetter, Regex::compile("\\p{L}").value()},
                                       {kNumber, Regex::compile("\\p{N}").value()},
                                       {kCombining, Regex::compile("\\p{M}").value()},
                                       {kGraphic, Regex::compile("[\\p{P}\\p{S}]").value()},
                                       {kUpper, Regex::compile("[\\p{Lu}\\p{Lt}]").value()},
                                       {kLower, Regex::compile("\\p{Ll}").value()}};
};

// Cuts `rounds` texts by each pattern; returns how many proved something.
int compare_with_pcre2(std::span<const KnownPattern> patterns, int rounds,
                       const std::function<std::string()>& random) {
  const Agreement agreement;
  int compared = 0;
  for (const KnownPattern pattern : patterns) {
    const auto regex = Regex::compile(pattern_regex(pattern)).value();
    const PatternScanner scanner(pattern);
    for (int round = 0; round < rounds; ++round) {
      const std::string text = random();
      if (!agreement.on(text)) continue;
      ++compared;
      for (size_t pos = 0; pos < text.size();) {
        size_t begin = 0, end = 0;
        const bool found = regex->find(text, pos, begin, end).value();
        const size_t expected = !found ? text.size() : begin > pos ? begin : end;
        const bool whole = !covers_text(pattern) || (found && begin == pos);
        const size_t cut = scanner.next(text, pos);
        EXPECT_TRUE(whole) << pattern_regex(pattern);
        EXPECT_EQ(cut, expected) << pattern_regex(pattern) << "\n'" << text << "' at " << pos;
        if (!whole || cut != expected) return compared;
        pos = expected;
      }
    }
  }
  return compared;
}

TEST(KnownPatterns, CutAsTheirRegularExpressionsDo) {
  std::mt19937 rng(21);
  EXPECT_GT(compare_with_pcre2(kAll, 10000, [&] { return random_text(rng, 1 + rng() % 20); }),
            60000);
}

TEST(PatternScanner, CutsAsPcre2Does) {
  constexpr KnownPattern kFirst[] = {KnownPattern::kGpt2, KnownPattern::kLlama3,
                                     KnownPattern::kQwen2};
  std::mt19937 rng(1);
  const auto random = [&] { return random_tokenizer_text(rng, 1 + static_cast<int>(rng() % 24)); };
  EXPECT_GT(compare_with_pcre2(kFirst, 20000, random), 50000);
}

TEST(KnownPatterns, AreKnownByTheirText) {
  for (const KnownPattern pattern : kAll)
    EXPECT_EQ(find_known_pattern(pattern_regex(pattern)), pattern);
  EXPECT_EQ(find_known_pattern("\\p{L}+"), std::nullopt);
}

TEST(KnownPatterns, ReadHostileTextInLinearTime) {
  std::string capitals, marks;
  for (int i = 0; i < 200000; ++i) {
    capitals += i % 1000 == 0 ? "中" : "Q";
    marks += i % 2 == 0 ? "\xCC\x81" : "A";
  }
  for (const KnownPattern pattern : kAll) {
    const PatternScanner scanner(pattern);
    for (const std::string& text :
         {capitals, marks, std::string(300000, ' '), std::string(300000, '\n'),
          std::string(300000, '\''), std::string(300000, '\x01'), std::string(300000, '7')}) {
      size_t pieces = 0;
      for (size_t pos = 0; pos < text.size(); ++pieces) pos = scanner.next(text, pos);
      EXPECT_GT(pieces, 0u);
    }
  }
}

}  // namespace
}  // namespace octavo::text
