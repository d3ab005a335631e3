// The tokenizer against goldens of Hugging Face's tokenizers, against slow twins of its parts, and
// against files that lie. Goldens of other models stand outside the repository; without them those
// tests are skipped by name.
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include "base/clock.h"
#include "base/json_writer.h"
#include "base/utf8.h"
#include "octavo/value.h"
#include "text/bpe.h"
#include "text/pretokenizer.h"
#include "text/unicode.h"

namespace octavo::text {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<TokenId>;

fs::path shared_dir() {
  const char* set = std::getenv("OCTAVO_SHARED");
  return set != nullptr ? fs::path(set) : fs::path(OCTAVO_SOURCE_DIR) / ".." / "shared";
}
fs::path goldens_dir(const std::string& name) {
  return shared_dir() / "data" / "tokenizers" / name;
}

fs::path tokenizer_path(const std::string& name) {
  if (name == "octavo-tiny") return fs::path(OCTAVO_SOURCE_DIR) / "models" / "octavo-tiny";
  return goldens_dir(name);
}

std::string read_file(const fs::path& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return out.str();
}

std::string read_xz(const fs::path& path) {
  std::string out;
  std::FILE* pipe = popen(("xz -dc '" + path.string() + "'").c_str(), "r");
  if (pipe == nullptr) return out;
  char buffer[65536];
  for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
  return pclose(pipe) == 0 ? out : std::string();
}

std::vector<Value> parse_lines(const std::string& text) {
  std::vector<Value> values;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    auto value = parse_json(line);
    EXPECT_TRUE(value.ok()) << value.status().to_string();
    if (value.ok()) values.push_back(std::move(value).value());
  }
  return values;
}

Ids ids_of(const Value& list) {
  Ids ids;
  for (const Value& v : list.as_list()) ids.push_back(static_cast<TokenId>(v.as_int()));
  return ids;
}

std::unique_ptr<Tokenizer> must_load(const fs::path& path) {
  auto tokenizer = load_tokenizer(path);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  return tokenizer.ok() ? std::move(tokenizer).value() : nullptr;
}

std::unique_ptr<Tokenizer> octavo_tiny() {
  return must_load(tokenizer_path("octavo-tiny"));
}

Ids must_encode(const Tokenizer& tokenizer, std::string_view text, EncodeOptions options = {}) {
  auto ids = tokenizer.encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.status().to_string();
  return ids.ok() ? std::move(ids).value() : Ids();
}

void check_golden(const Tokenizer& tokenizer, const Value& golden) {
  const std::string& text = golden.find("text")->as_string();
  SCOPED_TRACE(text.substr(0, 200));
  const Ids ids = ids_of(*golden.find("ids"));
  const Ids no_special = ids_of(*golden.find("ids_no_special"));
  const Ids plain =
      golden.find("ids_plain") != nullptr ? ids_of(*golden.find("ids_plain")) : no_special;
  EXPECT_EQ(must_encode(tokenizer, text), ids);
  EXPECT_EQ(must_encode(tokenizer, text, {.add_special_tokens = false}), no_special);
  EXPECT_EQ(
      must_encode(tokenizer, text, {.add_special_tokens = false, .parse_special_tokens = false}),
      plain);
  EXPECT_EQ(tokenizer.decode(ids, false), golden.find("decoded")->as_string());
  EXPECT_EQ(tokenizer.decode(ids, true), golden.find("decoded_skip_special")->as_string());
}

// Tokenizer and the folder of its goldens.
struct GoldenCase {
  std::string tokenizer, goldens;
};
class Goldens : public testing::TestWithParam<GoldenCase> {};

TEST_P(Goldens, ShortTexts) {
  const fs::path path = goldens_dir(GetParam().goldens) / "goldens.jsonl";
  if (!fs::exists(path)) GTEST_SKIP() << "no goldens at " << path;
  const auto tokenizer = must_load(tokenizer_path(GetParam().tokenizer));
  ASSERT_NE(tokenizer, nullptr);
  const auto goldens = parse_lines(read_file(path));
  EXPECT_EQ(goldens.size(), 390u);
  for (const Value& golden : goldens) check_golden(*tokenizer, golden);
}

TEST_P(Goldens, LongParagraph) {
  const fs::path path = goldens_dir(GetParam().goldens) / "goldens_long.jsonl.xz";
  if (!fs::exists(path)) GTEST_SKIP() << "no goldens at " << path;
  const std::string lines = read_xz(path);
  if (lines.empty()) GTEST_SKIP() << "no program xz to read " << path;
  const auto tokenizer = must_load(tokenizer_path(GetParam().tokenizer));
  ASSERT_NE(tokenizer, nullptr);
  for (const Value& golden : parse_lines(lines)) check_golden(*tokenizer, golden);
}

INSTANTIATE_TEST_SUITE_P(All, Goldens,
                         testing::Values(GoldenCase{"octavo-tiny", "octavo-tiny"},
                                         GoldenCase{"gpt2", "gpt2"}, GoldenCase{"qwen2", "qwen2"},
                                         GoldenCase{"llama2", "llama2"},
                                         GoldenCase{"mistral", "mistral"},
                                         GoldenCase{"torchtitan_test", "torchtitan_test"},
                                         GoldenCase{"scalellm_test", "gpt2"}),
                         [](const auto& param) {
                           std::string name = param.param.tokenizer;
                           std::erase_if(name, [](char c) { return c == '-' || c == '_'; });
                           return name;
                         });

class StreamGoldens : public testing::TestWithParam<std::string> {};

TEST_P(StreamGoldens, PieceByPiece) {
  const fs::path path = goldens_dir(GetParam()) / "goldens_stream.jsonl";
  if (!fs::exists(path)) GTEST_SKIP() << "no goldens at " << path;
  const auto tokenizer = must_load(tokenizer_path(GetParam()));
  ASSERT_NE(tokenizer, nullptr);
  const auto goldens = parse_lines(read_file(path));
  EXPECT_EQ(goldens.size(), 108u);
  for (const Value& golden : goldens) {
    SCOPED_TRACE(to_json(golden));
    TokenStreamer streamer(*tokenizer, false);
    streamer.prime(ids_of(*golden.find("prompt_ids")));
    const Ids ids = ids_of(*golden.find("ids"));
    const auto& pieces = golden.find("pieces")->as_list();
    ASSERT_EQ(pieces.size(), ids.size());
    for (size_t i = 0; i < ids.size(); ++i)
      EXPECT_EQ(streamer.append(ids[i]), pieces[i].as_string()) << i;
    EXPECT_EQ(streamer.flush(), golden.find("flush")->as_string());
  }
}

INSTANTIATE_TEST_SUITE_P(All, StreamGoldens, testing::Values("gpt2", "llama2", "octavo-tiny"),
                         [](const auto& param) {
                           return param.param == "octavo-tiny" ? "octavotiny" : param.param;
                         });

// --- octavo-tiny: always there
// -------------------------------------------------------------------------------

TEST(OctavoTiny, EncodesAndDecodes) {
  const auto tokenizer = octavo_tiny();
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->vocab_size(), 8192);
  EXPECT_EQ(must_encode(*tokenizer, "Hello"), Ids{1535});
  const std::string text =
      "<|im_start|>user\nWhat's 12 + 34?\n<|im_end|> <think>naïve 你好 👍</think>";
  const Ids ids = must_encode(*tokenizer, text);
  EXPECT_EQ(ids.front(), 8186);
  EXPECT_EQ(tokenizer->decode(ids, false), text);
  EXPECT_EQ(tokenizer->decode(ids, true), "user\nWhat's 12 + 34?\n <think>naïve 你好 👍</think>");
}

TEST(OctavoTiny, KnowsItsTokens) {
  const auto tokenizer = octavo_tiny();
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_TRUE(tokenizer->is_special(8187));
  EXPECT_FALSE(tokenizer->is_special(8190));
  EXPECT_EQ(tokenizer->token_string(8190), "<think>");
  EXPECT_EQ(tokenizer->token_id("<think>"), 8190);
  EXPECT_EQ(tokenizer->token_id("\xC4\xA0the"), must_encode(*tokenizer, " the").at(0));
  EXPECT_EQ(tokenizer->token_bytes(tokenizer->token_id("\xC4\xA0the")), " the");
  EXPECT_EQ(tokenizer->token_id("no such token"), -1);
  for (TokenId id = 0; id < tokenizer->vocab_size(); ++id) {
    EXPECT_EQ(tokenizer->token_id(tokenizer->token_string(id)), id);
  }
  for (const TokenId id :
       {-1, 8192, std::numeric_limits<TokenId>::max(), std::numeric_limits<TokenId>::min()}) {
    EXPECT_EQ(tokenizer->token_string(id), "");
    EXPECT_EQ(tokenizer->token_bytes(id), "");
    EXPECT_FALSE(tokenizer->is_special(id));
    EXPECT_EQ(tokenizer->decode(Ids{id}, false), "");
  }
}

TEST(OctavoTiny, RefusesInvalidUtf8) {
  const auto tokenizer = octavo_tiny();
  ASSERT_NE(tokenizer, nullptr);
  for (const std::string_view bad : {"a\xFF", "\xE4\xBD", "\xED\xA0\x80", "\xC0\x80"}) {
    EXPECT_EQ(tokenizer->encode(bad, {}).status().code(), StatusCode::kInvalidArgument);
  }
}

TEST(OctavoTiny, LoadsFastEnoughForTheServersStart) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's build says nothing about time";
#endif
  const double start = thread_cpu_seconds();
  const auto tokenizer = octavo_tiny();
  const double seconds = thread_cpu_seconds() - start;
  RecordProperty("milliseconds", std::to_string(seconds * 1e3));
  EXPECT_LT(seconds, 0.1);
}

// --- slow twins
// ----------------------------------------------------------------------------------------------

// Random text out of the characters at which the patterns decide.
std::string random_text(std::mt19937& rng, int length) {
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
  for (int i = 0; i < length; ++i) {
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

TEST(PatternScanner, CutsAsPcre2Does) {
  // The two libraries' Unicode versions differ, so characters on whose class they disagree are left
  // out.
  const auto letters = Regex::compile("\\p{L}").value(), numbers = Regex::compile("\\p{N}").value();
  const auto agree = [&](std::string_view text) {
    for (size_t i = 0; i < text.size();) {
      int length = 0;
      const char32_t c = decode_valid(text.data() + i, length);
      size_t begin, end;
      const auto one = text.substr(i, length);
      if (letters->find(one, 0, begin, end).value() != CharTable::get().is(c, kLetter))
        return false;
      if (numbers->find(one, 0, begin, end).value() != CharTable::get().is(c, kNumber))
        return false;
      i += length;
    }
    return true;
  };
  std::mt19937 rng(1);
  int compared = 0;
  for (const auto pattern : {KnownPattern::kGpt2, KnownPattern::kLlama3, KnownPattern::kQwen2}) {
    const auto regex = Regex::compile(pattern_regex(pattern)).value();
    const PatternScanner scanner(pattern);
    for (int round = 0; round < 20000; ++round) {
      const std::string text = random_text(rng, 1 + static_cast<int>(rng() % 24));
      if (!agree(text)) continue;
      ++compared;
      for (size_t pos = 0; pos < text.size();) {
        size_t begin = 0, end = 0;
        ASSERT_TRUE(regex->find(text, pos, begin, end).value());
        ASSERT_EQ(begin, pos) << text;
        ASSERT_EQ(scanner.next(text, pos), end) << to_json(Value(text)) << " at " << pos;
        pos = end;
      }
    }
  }
  EXPECT_GT(compared, 50000);
}

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

// The definition of BPE: merge the leftmost pair of the lowest rank until none is left.
Ids slow_bpe(const Bpe& bpe, const std::vector<std::pair<std::string, std::string>>& merges,
             const std::string& word) {
  std::vector<std::string> symbols;
  for (const char c : word) symbols.emplace_back(1, c);
  for (;;) {
    size_t best = merges.size(), at = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto it =
          std::find(merges.begin(), merges.end(), std::pair(symbols[i], symbols[i + 1]));
      if (const auto rank = static_cast<size_t>(it - merges.begin()); rank < best)
        best = rank, at = i;
    }
    if (best == merges.size()) break;
    symbols[at] += symbols[at + 1];
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
  Ids ids;
  for (const auto& symbol : symbols) ids.push_back(bpe.find(symbol));
  return ids;
}

TEST(Bpe, MergesAsDefinedInShortAndLongWords) {
  std::mt19937 rng(2);
  for (int round = 0; round < 40; ++round) {
    std::vector<std::string> tokens = {"a", "b", "c"};
    TokenIndex index;
    for (int i = 0; i < 3; ++i) index.insert(tokens[i], i);
    std::vector<std::pair<std::string, std::string>> merges;
    for (int i = 0; i < 30; ++i) {
      const auto merge = std::pair(tokens[rng() % tokens.size()], tokens[rng() % tokens.size()]);
      if (std::find(merges.begin(), merges.end(), merge) != merges.end()) continue;
      merges.push_back(merge);
      const std::string joined = merge.first + merge.second;
      if (index.insert(joined, static_cast<TokenId>(tokens.size()))) tokens.push_back(joined);
    }
    std::vector<Bpe::Merge> views(merges.begin(), merges.end());
    auto bpe =
        Bpe::build({.byte_level = true}, std::move(index), views, static_cast<int>(tokens.size()));
    ASSERT_TRUE(bpe.ok()) << bpe.status().to_string();
    Bpe::Scratch scratch;
    for (int word_round = 0; word_round < 20; ++word_round) {
      std::string word(rng() % (word_round < 15 ? 40 : 400), 'a');
      for (char& c : word) c = static_cast<char>('a' + rng() % 3);
      const Ids expected = slow_bpe(**bpe, merges, word);
      for (int again = 0; again < 2; ++again) {  // the second time from the cache
        Ids ids;
        (*bpe)->encode(word, scratch, ids);
        ASSERT_EQ(ids, expected) << word;
      }
    }
  }
}

TEST(Normalize, AgreesWithTheWholeTextAtOnce) {
  // A text's normal form does not depend on the stretches in which it was rewritten: that of each
  // prefix, then the rest, is that of the whole.
  std::mt19937 rng(3);
  for (const auto form :
       {NormalForm::kNfc, NormalForm::kNfd, NormalForm::kNfkc, NormalForm::kNfkd}) {
    for (int round = 0; round < 3000; ++round) {
      const std::string text = random_text(rng, 12);
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

TEST(TokenStreamer, AddsUpToTheWholeDecoding) {
  const auto tokenizer = octavo_tiny();
  ASSERT_NE(tokenizer, nullptr);
  std::mt19937 rng(4);
  for (int round = 0; round < 3000; ++round) {
    Ids ids;
    for (int i = 0; i < 12; ++i)
      ids.push_back(static_cast<TokenId>(rng() % 3 == 0 ? rng() % 8192 : rng() % 256));
    for (const bool skip : {false, true}) {
      TokenStreamer streamer(*tokenizer, skip);
      std::string text;
      for (const TokenId id : ids) {
        const std::string piece = streamer.append(id);
        EXPECT_TRUE(valid_utf8(piece));
        text += piece;
      }
      EXPECT_EQ(text + streamer.flush(), tokenizer->decode(ids, skip));
    }
  }
}

TEST(TokenStreamer, ShowsTheSpecialTokensItIsAskedToShow) {
  const auto tokenizer = octavo_tiny();
  ASSERT_NE(tokenizer, nullptr);
  const TokenId start = tokenizer->token_id("<|im_start|>"),
                end = tokenizer->token_id("<|im_end|>");
  TokenStreamer streamer(*tokenizer, true, {start});
  EXPECT_EQ(streamer.append(start), "<|im_start|>");
  EXPECT_EQ(streamer.append(end), "");
}

// --- time
// ----------------------------------------------------------------------------------------------------

TEST(Encode, LongWordsAndHostileTextTakeLinearTime) {
  const auto tokenizer = octavo_tiny();
  ASSERT_NE(tokenizer, nullptr);
  std::string marks;
  for (int i = 0; i < 250000; ++i) marks += i % 2 == 0 ? "\xCC\x81" : "\xCC\xA3";
  std::string lengthening;
  for (int i = 0; i < 100000; ++i) lengthening += "abcdefghij";
  for (const std::string& text :
       {std::string(1 << 20, 'a'), lengthening, std::string(1 << 20, ' '),
        std::string(1 << 20, '\n'), std::string(1 << 20, '<'), std::string(1 << 20, '\''), marks}) {
    const double start = thread_cpu_seconds();
    const Ids ids = must_encode(*tokenizer, text);
    EXPECT_LT(thread_cpu_seconds() - start, 5.0) << text.substr(0, 20);
    EXPECT_EQ(tokenizer->decode(ids, false), text);
  }
  const double start = thread_cpu_seconds();
  normalize(marks, NormalForm::kNfc);
  EXPECT_LT(thread_cpu_seconds() - start, 5.0);
}

TEST(Encode, ManyThreadsAgree) {
  const auto tokenizer = octavo_tiny();
  ASSERT_NE(tokenizer, nullptr);
  std::mt19937 rng(5);
  const std::string text = random_text(rng, 5000);
  const Ids expected = must_encode(*octavo_tiny(), text);
  std::vector<std::thread> threads;
  std::vector<Ids> results(4);
  for (auto& result : results)
    threads.emplace_back([&] { result = must_encode(*tokenizer, text); });
  for (auto& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_EQ(result, expected);
}

// --- files that lie, and files that ask for what we lack
// -----------------------------------------------------

std::string small_json(const std::string& vocab, const std::string& merges,
                       const std::string& added = "[]",
                       const std::string& rest = R"("decoder":{"type":"ByteLevel"})") {
  return R"({"added_tokens":)" + added +
         R"(,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},)" + rest +
         R"(,"model":{"type":"BPE","vocab":)" + vocab + R"(,"merges":)" + merges + "}}";
}

struct BadFile {
  std::string json;
  StatusCode code;
  std::string part_of_message;
};

TEST(ParseTokenizerJson, RefusesFilesThatLie) {
  const std::string ab = R"({"a":0,"b":1,"ab":2})";
  const auto step = [](const std::string& name, const std::string& json) {
    return "{\"" + name + "\":" + json +
           R"(,"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","vocab":{"a":0}}})";
  };
  const std::vector<BadFile> files = {
      {"", StatusCode::kDataLoss, "not JSON"},
      {"{\"model\":", StatusCode::kDataLoss, "not JSON"},
      {"{} x", StatusCode::kDataLoss, "not JSON"},
      {"[]", StatusCode::kDataLoss, "no object"},
      {std::string(100000, '['), StatusCode::kDataLoss, "not JSON"},
      {R"({"model":{"type":"BPE","vocab":{"a)"
       "\xFF"
       R"(":0}}})",
       StatusCode::kDataLoss, "not JSON"},
      {"{}", StatusCode::kDataLoss, "no model"},
      {R"({"model":{"type":"Unigram","vocab":[]}})", StatusCode::kDataLoss, "no tokens"},
      {R"({"model":{"type":"WordPiece","vocab":{}}})", StatusCode::kDataLoss, "no tokens"},
      {R"({"model":{"type":"Neural","vocab":{}}})", StatusCode::kUnimplemented, "Neural"},
      {small_json("{}", "[]"), StatusCode::kDataLoss, "no tokens"},
      {small_json("[]", "[]"), StatusCode::kDataLoss, "vocab"},
      {small_json(R"({"a":-1})", "[]"), StatusCode::kDataLoss, "out of range"},
      {small_json(R"({"a":16777215})", "[]"), StatusCode::kDataLoss, "out of range"},
      {small_json(R"({"a":99999999999999999999})", "[]"), StatusCode::kDataLoss, "no integer"},
      {small_json(R"({"a":1.5})", "[]"), StatusCode::kDataLoss, "no integer"},
      {small_json(R"({"a":"0"})", "[]"), StatusCode::kDataLoss, "no integer"},
      {small_json(R"({"a":0,"b":0})", "[]"), StatusCode::kDataLoss, "both"},
      {small_json(ab, R"(["a c"])"), StatusCode::kDataLoss, "'c'"},
      {small_json(ab, R"(["b a"])"), StatusCode::kDataLoss, "'ba'"},
      {small_json(ab, R"(["a"])"), StatusCode::kDataLoss, "merge"},
      {small_json(ab, R"(["a b a"])"), StatusCode::kDataLoss, "merge"},
      {small_json(ab, R"([["a"]])"), StatusCode::kDataLoss, "merge"},
      {small_json(ab, R"([[1,2]])"), StatusCode::kDataLoss, "merge"},
      {small_json(ab, R"({"a":1})"), StatusCode::kDataLoss, "merges"},
      {small_json(ab, "[]", R"([{"id":0,"content":"<x>"}])"), StatusCode::kDataLoss, "both"},
      {small_json(ab, "[]", R"([{"id":7,"content":"a"}])"), StatusCode::kDataLoss, "'a'"},
      {small_json(ab, "[]", R"([{"id":-7,"content":"<x>"}])"), StatusCode::kDataLoss,
       "out of range"},
      {small_json(ab, "[]", R"([{"id":7,"content":"<x>"},{"id":8,"content":"<x>"}])"),
       StatusCode::kDataLoss, "<x>"},
      {small_json(ab, "[]", "[7]"), StatusCode::kDataLoss, "added token"},
      {small_json(ab, "[]", "[]", R"("decoder":{"type":"Backwards"})"), StatusCode::kUnimplemented,
       "Backwards"},
      {small_json(
           ab, "[]", "[]",
           R"("decoder":{"type":"ByteLevel"},"post_processor":{"type":"RobertaProcessing"})"),
       StatusCode::kDataLoss, "cls"},
      {small_json(
           ab, "[]", "[]",
           R"("decoder":{"type":"ByteLevel"},"post_processor":{"type":"TemplateProcessing","single":[
                  {"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[9]}}})"),
       StatusCode::kDataLoss, "out of range"},
      {step("normalizer", R"({"type":"Precompiled"})"), StatusCode::kDataLoss,
       "precompiled_charsmap"},
      {step("normalizer", R"({"type":"Sequence"})"), StatusCode::kDataLoss, "normalizers"},
      {step("pre_tokenizer", R"({"type":"EveryOther"})"), StatusCode::kUnimplemented, "EveryOther"},
      {step("pre_tokenizer", R"({"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"})"),
       StatusCode::kInvalidArgument, "regular expression"},
      {step("pre_tokenizer", R"({"type":"Split","pattern":{"Regex":"a"},"behavior":"Sideways"})"),
       StatusCode::kUnimplemented, "Sideways"},
  };
  for (const BadFile& file : files) {
    const auto tokenizer = parse_tokenizer_json(file.json);
    ASSERT_FALSE(tokenizer.ok()) << file.json.substr(0, 300);
    EXPECT_EQ(tokenizer.status().code(), file.code) << tokenizer.status().to_string();
    EXPECT_NE(tokenizer.status().message().find(file.part_of_message), std::string::npos)
        << tokenizer.status().to_string();
  }
}

TEST(ParseTokenizerJson, ReplaceCannotGrowTextWithoutBound) {
  std::string steps;
  for (int i = 0; i < 60; ++i) {
    steps += std::string(i == 0 ? "" : ",") +
             R"({"type":"Replace","pattern":{"String":"a"},"content":")" + std::string(200, 'a') +
             "\"}";
  }
  const auto tokenizer = parse_tokenizer_json(small_json(
      R"({"a":0})", "[]", "[]",
      R"("decoder":{"type":"ByteLevel"},"normalizer":{"type":"Sequence","normalizers":[)" + steps +
          "]}"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  EXPECT_EQ((*tokenizer)->encode("a", {}).status().code(), StatusCode::kResourceExhausted);
}

TEST(LoadTokenizer, NamesTheFile) {
  const auto missing = load_tokenizer("/no/such/place");
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_NE(missing.status().message().find("/no/such/place"), std::string::npos);
}

TEST(AddedTokens, StripsAndWholeWords) {
  const auto tokenizer = parse_tokenizer_json(R"({"added_tokens":[
      {"id":10,"content":"<m>","lstrip":true,"rstrip":true,"single_word":false,"normalized":false,"special":true},
      {"id":11,"content":"yes","lstrip":false,"rstrip":false,"single_word":true,"normalized":false,"special":false},
      {"id":12,"content":"Ja","lstrip":false,"rstrip":false,"single_word":false,"normalized":true,"special":false}],
      "normalizer":{"type":"Lowercase"},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},
      "decoder":{"type":"ByteLevel"},
      "model":{"type":"BPE","vocab":{"a":0,"y":1,"e":2,"s":3,"Ġ":4,"j":5},"merges":[]}})");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  EXPECT_EQ(must_encode(**tokenizer, "a  <m> \n a"), (Ids{0, 10, 0}));
  EXPECT_EQ(must_encode(**tokenizer, " <m> <m>a"), (Ids{10, 10, 0}));
  EXPECT_EQ(must_encode(**tokenizer, "yes a"), (Ids{11, 4, 0}));
  EXPECT_EQ(must_encode(**tokenizer, "ayes"), (Ids{0, 1, 2, 3}));
  EXPECT_EQ(must_encode(**tokenizer, "yes_"), (Ids{1, 2, 3}));
  EXPECT_EQ(must_encode(**tokenizer, "aJA"), (Ids{0, 12}));
}

}  // namespace
}  // namespace octavo::text
