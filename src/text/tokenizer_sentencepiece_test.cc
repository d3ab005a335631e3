// tokenizer.model files of our own making: what their settings change, and files that are refused.
// That ids are SentencePiece's own, tokenizer_kinds_test.cc shows on goldens.
#include "text/tokenizer_sentencepiece.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "text/sentencepiece_model.h"

namespace octavo::text {
namespace {

using Ids = std::vector<TokenId>;
using Type = SentencePieceModel::PieceType;

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
std::string number(int field, uint64_t value) {
  return varint(static_cast<uint64_t>(field) << 3) + varint(value);
}
std::string bytes(int field, const std::string& value) {
  return varint(static_cast<uint64_t>(field) << 3 | 2) + varint(value.size()) + value;
}
std::string piece(const std::string& text, float score = 0, Type type = Type::kNormal) {
  std::string bits(sizeof score, '\0');
  std::memcpy(bits.data(), &score, sizeof score);
  return bytes(1,
               bytes(1, text) + varint(2 << 3 | 5) + bits + number(3, static_cast<uint64_t>(type)));
}

constexpr uint64_t kUnigram = 1, kBpe = 2;
std::string trainer(uint64_t kind, bool byte_fallback = false) {
  return bytes(2, number(3, kind) + number(35, byte_fallback));
}

// <unk> 0, <s> 1, </s> 2, "▁" 3, "a" 4, "b" 5, "▁a" 6, "ab" 7, "▁ab" 8.
std::string small_model(uint64_t kind = kBpe) {
  return piece("<unk>", 0, Type::kUnknown) + piece("<s>", 0, Type::kControl) +
         piece("</s>", 0, Type::kControl) + piece("▁", -4) + piece("a", -4) + piece("b", -4) +
         piece("▁a", -3) + piece("ab", -2) + piece("▁ab", -1) + trainer(kind);
}

TokenizerSettings settings_of(const std::string& config) {
  TokenizerSettings settings;
  settings.config = parse_json_object(config, "tokenizer_config.json").value();
  return settings;
}

std::unique_ptr<Tokenizer> tokenizer_of(const std::string& file, const std::string& config = "{}") {
  auto tokenizer = parse_sentencepiece(file, settings_of(config));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

std::string error_of(const std::string& file, const std::string& config = "{}") {
  const auto tokenizer = parse_sentencepiece(file, settings_of(config));
  return tokenizer.ok() ? "" : tokenizer.status().message();
}

TEST(SentencePiece, PutsAroundATextWhatTheSettingsSay) {
  const std::string text = "ab";
  EXPECT_EQ(tokenizer_of(small_model())->encode(text, {}).value(), (Ids{8}));
  EXPECT_EQ(tokenizer_of(small_model(), R"({"add_bos_token":true,"add_eos_token":true})")
                ->encode(text, {})
                .value(),
            (Ids{1, 8, 2}));
  EXPECT_EQ(tokenizer_of(small_model(), R"({"tokenizer_class":"LlamaTokenizerFast"})")
                ->encode(text, {})
                .value(),
            (Ids{1, 8}));
  EXPECT_EQ(
      tokenizer_of(small_model(), R"({"tokenizer_class":"LlamaTokenizer","add_bos_token":false})")
          ->encode(text, {})
          .value(),
      (Ids{8}));
  EXPECT_EQ(
      tokenizer_of(small_model(), R"({"tokenizer_class":"T5Tokenizer"})")->encode(text, {}).value(),
      (Ids{8, 2}));
  EXPECT_NE(error_of(small_model(), R"({"add_bos_token":true,"bos_token":"<none>"})")
                .find("bos_token '<none>' is no token"),
            std::string::npos);
}

TEST(SentencePiece, FindsControlPiecesInTextUnlessItIsPlain) {
  const auto tokenizer = tokenizer_of(small_model());
  EXPECT_EQ(tokenizer->encode("</s>ab", {}).value(), (Ids{2, 8}));
  EXPECT_EQ(tokenizer->encode("</s>", {.parse_special_tokens = false}).value(), (Ids{3, 0}));
  EXPECT_TRUE(tokenizer->is_special(2));
  EXPECT_EQ(tokenizer->decode(Ids{2, 8}, true), "ab");
  EXPECT_EQ(tokenizer->decode(Ids{2, 8}, false), "</s> ab");
}

TEST(SentencePiece, TheSpaceBehindASpecialTokenIsTheSettings) {
  const auto ids = [](const std::string& config) {
    return tokenizer_of(small_model(), config)->encode("ab</s>ab", {}).value();
  };
  EXPECT_EQ(ids("{}"), (Ids{8, 2, 8}));
  EXPECT_EQ(ids(R"({"legacy":false})"), (Ids{8, 2, 7}));
  EXPECT_EQ(ids(R"({"add_prefix_space":false})"), (Ids{7, 2, 7}));
}

TEST(SentencePiece, TakesAddedTokensFromTheSettings) {
  TokenizerSettings settings;
  AddedToken pad;
  pad.id = 9;
  pad.content = "<pad>";
  pad.special = true;
  settings.added = {pad};
  const auto tokenizer = parse_sentencepiece(small_model(), settings);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  EXPECT_EQ((*tokenizer)->encode("ab<pad>", {}).value(), (Ids{8, 9}));
  EXPECT_EQ((*tokenizer)->token_id("<pad>"), 9);
  EXPECT_EQ((*tokenizer)->vocab_size(), 10);
  settings.added[0].id = 4;
  EXPECT_NE(parse_sentencepiece(small_model(), settings).status().message().find("id 4"),
            std::string::npos);
  settings.added[0].id = 1 << 23;
  EXPECT_NE(parse_sentencepiece(small_model(), settings).status().message().find("out of range"),
            std::string::npos);
}

TEST(SentencePiece, UnknownCharactersAreOneTokenAndReadAsTheirSurface) {
  const auto tokenizer = tokenizer_of(small_model());
  EXPECT_EQ(tokenizer->encode("a?!b", {}).value(), (Ids{6, 0, 5}));
  EXPECT_EQ(tokenizer->decode(Ids{6, 0, 5}, true), "a \xE2\x81\x87 b");
}

TEST(SentencePiece, NamesWhatAFileGetsWrong) {
  const std::vector<std::pair<std::string, std::string>> files = {
      {"", "no pieces"},
      {small_model(3), "WORD"},
      {small_model(4), "CHAR"},
      {small_model(9), "the type 9"},
      {piece("a") + trainer(kBpe), "no unknown piece"},
      {small_model() + piece("<unk2>", 0, Type::kUnknown), "two unknown pieces"},
      {small_model() + piece("ab"), "'ab' stands there twice"},
      {small_model() + piece(""), "piece 9: an empty piece"},
      {small_model() + piece("\xFF"), "not UTF-8"},
      {small_model() + piece(std::string("a\0b", 3)), "NUL"},
      {small_model() + piece("x", 0, static_cast<Type>(7)), "the type 7"},
      {small_model() + piece(std::string(2000, 'x')), "longer than 1 KiB"},
      {small_model() + piece("<0x41>", 0, Type::kByte), "without byte_fallback"},
      {small_model() + trainer(kBpe, true), "byte_fallback without the byte piece <0x00>"},
      {small_model() + bytes(3, bytes(2, "abc")), "charsmap"},
      {small_model() + bytes(5, bytes(2, "abc")), "denormalizer_spec"},
      {small_model() + "\x0A\x05", "cut short"},
      {small_model() + "\x0B", "wire type 3"},
      {small_model() + std::string(12, '\xFF'), "longer than ten bytes"},
  };
  for (const auto& [file, part] : files)
    EXPECT_NE(error_of(file).find(part), std::string::npos) << part << "; got: " << error_of(file);
}

TEST(SentencePiece, AFileCutAnywhereIsRefusedOrReadsWell) {
  for (const uint64_t kind : {kUnigram, kBpe}) {
    const std::string whole = small_model(kind);
    for (size_t size = 0; size < whole.size(); ++size) {
      const auto tokenizer = parse_sentencepiece(whole.substr(0, size), {});
      if (!tokenizer.ok()) continue;
      const Ids ids = (*tokenizer)->encode("ab a", {}).value();
      for (const TokenId id : ids) EXPECT_LT(id, (*tokenizer)->vocab_size());
    }
  }
}

// A trie whose one edge, 'a', leads back to where it comes from.
std::string circular_charsmap() {
  std::vector<uint32_t> units(256);
  constexpr uint32_t kNode = 0x80, kByte = 'a';
  units[0] = kNode << 10;
  units[kNode ^ kByte] = kByte << 10 | kByte;
  const auto size = static_cast<uint32_t>(units.size() * sizeof units[0]);
  std::string blob(reinterpret_cast<const char*>(&size), sizeof size);
  return blob.append(reinterpret_cast<const char*>(units.data()), size);
}

TEST(SentencePiece, ACircularCharsmapIsNotFollowedForEver) {
  const auto tokenizer = tokenizer_of(small_model() + bytes(3, bytes(2, circular_charsmap())));
  EXPECT_EQ(tokenizer->encode(std::string(300'000, 'a'), {}).value().size(), 300'000u);
}

TEST(SentencePiece, ByteTokensThatFormNoCharacterReadTheSameAtOnceAndInAStream) {
  std::string file = piece("<unk>", 0, Type::kUnknown) + piece("a", -1) + trainer(kUnigram, true);
  for (int b = 0; b < 256; ++b) {
    std::array<char, 8> name;
    std::snprintf(name.data(), name.size(), "<0x%02X>", b);
    file += piece(name.data(), 0, Type::kByte);
  }
  const auto tokenizer = tokenizer_of(file);
  const auto byte = [](int b) { return TokenId{2 + b}; };
  const Ids ids = {byte(0xE4), byte(0xBD), 1,          byte(0xE4),
                   byte(0xBD), byte(0xA0), byte(0xF0), byte(0x9F)};
  const std::string bad = "\xEF\xBF\xBD";
  const std::string text = bad + bad + "a" + "\xE4\xBD\xA0" + bad + bad;
  EXPECT_EQ(tokenizer->decode(ids, true), text);
  TokenStreamer streamer(*tokenizer, true);
  std::string streamed;
  for (const TokenId id : ids) streamed += streamer.append(id);
  EXPECT_EQ(streamed + streamer.flush(), text);
}

}  // namespace
}  // namespace octavo::text
