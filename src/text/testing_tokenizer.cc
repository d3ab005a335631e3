#include "text/testing_tokenizer.h"

#include <gtest/gtest.h>

#include "base/testing_files.h"
#include "base/utf8.h"

namespace octavo::text {

std::filesystem::path octavo_tiny_path() {
  return octavo::testing::source_dir() / "models" / "octavo-tiny";
}

std::unique_ptr<Tokenizer> must_load(const std::filesystem::path& path) {
  auto tokenizer = load_tokenizer(path);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  return tokenizer.ok() ? std::move(tokenizer).value() : nullptr;
}

std::unique_ptr<Tokenizer> octavo_tiny() {
  return must_load(octavo_tiny_path());
}

std::vector<TokenId> must_encode(const Tokenizer& tokenizer, std::string_view text,
                                 EncodeOptions options) {
  auto ids = tokenizer.encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.status().to_string();
  return ids.ok() ? std::move(ids).value() : std::vector<TokenId>();
}

std::string random_tokenizer_text(std::mt19937& rng, int parts) {
  static const std::vector<std::string> kParts = {" ",
                                                  " ",
                                                  " ",
                                                  "  ",
                                                  "\n",
                                                  "\r",
                                                  "\r\n",
                                                  "\t",
                                                  "\v",
                                                  "a",
                                                  "b",
                                                  "S",
                                                  "LL",
                                                  "ll",
                                                  "re",
                                                  "ve",
                                                  "'",
                                                  "'s",
                                                  "'T",
                                                  "'\xC5\xBF",
                                                  "d",
                                                  "m",
                                                  "1",
                                                  "23",
                                                  "4567",
                                                  ".",
                                                  "!?",
                                                  "_",
                                                  "\xC2\xA0",
                                                  "\xC2\x85",
                                                  "\xE3\x80\x80",
                                                  "\xE1\xA0\x8E",
                                                  "\xE2\x80\xA8",
                                                  "\xE2\x80\x8B",
                                                  "\xEF\xBB\xBF",
                                                  "é",
                                                  "e\xCC\x81",
                                                  "ß",
                                                  "你好",
                                                  "한국",
                                                  "ﬁ",
                                                  "٣",
                                                  "Ⅷ",
                                                  "²",
                                                  "½",
                                                  "👍",
                                                  "👨\xE2\x80\x8D👩",
                                                  "ก็",
                                                  "\xCC\x81",
                                                  "Ω",
                                                  "İ",
                                                  "ǅ",
                                                  "\x01",
                                                  "€",
                                                  "ʼn"};
  std::string out;
  for (int i = 0; i < parts; ++i) {
    if (rng() % 8 != 0) {
      out += kParts[rng() % kParts.size()];
      continue;
    }
    char32_t c = rng() % 16 == 0 ? rng() % 0x110000 : rng() % 0x3000;
    if (c >= 0xD800 && c < 0xE000) c = 0x4E00;
    append_utf8(out, c);
  }
  return out;
}

}  // namespace octavo::text
