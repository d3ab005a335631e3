// Tokenizers of every kind (the models of tokenizer.json and the steps around them, SentencePiece's
// and tiktoken's files, vocab.json and vocab.txt) against goldens of the Python packages. The files
// in tests/data/tokenizers are originals, made by make.py and make_files.py there;
// OCTAVO_KIND_GOLDENS names a folder with longer lists of the same goldens.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/json_writer.h"
#include "base/testing_files.h"
#include "octavo/value.h"
#include "text/charsmap.h"
#include "text/tokenizer.h"

namespace octavo::text {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<TokenId>;

fs::path data_dir() {
  return octavo::testing::source_dir() / "tests" / "data" / "tokenizers";
}

std::vector<Value> goldens_of(const std::string& name) {
  const char* other = std::getenv("OCTAVO_KIND_GOLDENS");
  std::ifstream in((other != nullptr ? fs::path(other) : data_dir()) / (name + ".goldens.jsonl"));
  std::vector<Value> goldens;
  for (std::string line; std::getline(in, line);) goldens.push_back(parse_json(line).value());
  return goldens;
}

Ids ids_of(const Value& list) {
  Ids ids;
  for (const Value& v : list.as_list()) ids.push_back(static_cast<TokenId>(v.as_int()));
  return ids;
}

// A file, or a directory whose files it takes together.
fs::path path_of(const std::string& name) {
  for (const char* extension : {".json", ".model"}) {
    if (fs::exists(data_dir() / (name + extension))) return data_dir() / (name + extension);
  }
  return data_dir() / name;
}

// What is decoded: the ids of the text, unless the golden names others.
Ids decoded_ids(const Value& golden) {
  const Value* ids = golden.find("decode");
  return ids_of(ids != nullptr ? *ids : *golden.find("ids"));
}

class TokenizerKinds : public ::testing::TestWithParam<std::string> {};

TEST_P(TokenizerKinds, AgreeWithTheGoldens) {
  const auto tokenizer = load_tokenizer(path_of(GetParam()));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  const auto goldens = goldens_of(GetParam());
  EXPECT_GE(goldens.size(), 40u);
  const std::pair<const char*, EncodeOptions> encodings[] = {
      {"ids", {}},
      {"ids_no_special", {.add_special_tokens = false}},
      {"ids_plain", {.add_special_tokens = false, .parse_special_tokens = false}}};
  for (const Value& golden : goldens) {
    const std::string& text = golden.find("text")->as_string();
    SCOPED_TRACE(to_json(Value(text)));
    for (const auto& [name, options] : encodings) {
      const Value* ids = golden.find(name);
      if (ids == nullptr) continue;
      EXPECT_EQ((*tokenizer)->encode(text, options).value(), ids_of(*ids)) << name;
    }
    const Ids ids = decoded_ids(golden);
    for (const bool skip : {false, true}) {
      const Value* decoded = golden.find(skip ? "decoded_skip_special" : "decoded");
      if (decoded == nullptr) continue;
      EXPECT_EQ((*tokenizer)->decode(ids, skip), decoded->as_string());
    }
  }
}

TEST_P(TokenizerKinds, StreamWhatTheyDecode) {
  const auto tokenizer = load_tokenizer(path_of(GetParam()));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  for (const Value& golden : goldens_of(GetParam())) {
    const Ids ids = decoded_ids(golden);
    for (const bool skip : {false, true}) {
      TokenStreamer streamer(**tokenizer, skip);
      std::string text;
      for (const TokenId id : ids) text += streamer.append(id);
      EXPECT_EQ(text + streamer.flush(), (*tokenizer)->decode(ids, skip));
    }
  }
}

// Whatever takes time or memory that grows with the square would not come to an end here.
TEST_P(TokenizerKinds, EncodeAMegabyteWithoutABreak) {
  const auto tokenizer = load_tokenizer(path_of(GetParam()));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  for (const std::string unit : {"a", " ", "aA", "\xE4\xBD\xA0", "\xCC\x81", "\xE2\x96\x81"}) {
    std::string text;
    while (text.size() < (unit == "a" ? 1'000'000 : 200'000)) text += unit;
    const auto ids = (*tokenizer)->encode(text, {});
    ASSERT_TRUE(ids.ok()) << ids.status().to_string();
    (void)(*tokenizer)->decode(*ids, false);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, TokenizerKinds,
    ::testing::Values("wordpiece_bert", "wordpiece_cased", "wordpiece_delimiter", "wordlevel",
                      "unigram_t5", "unigram_never", "unigram_bytes", "scripts", "end_of_word",
                      "ctc", "sp_unigram", "sp_unigram_bytes", "sp_unigram_suffix", "sp_bpe",
                      "sp_bpe_bytes", "sp_bpe_split", "sp_bpe_unused", "tiktoken_cl100k",
                      "tiktoken_o200k", "tiktoken_qwen", "tiktoken_kimi", "vocab_gpt2",
                      "vocab_qwen2", "vocab_roberta", "vocab_bert", "vocab_bert_cased"),
    [](const auto& param) {
      std::string name = param.param;
      std::erase(name, '_');
      return name;
    });

Status load_error(const std::string& json) {
  const auto tokenizer = parse_tokenizer_json(json);
  return tokenizer.ok() ? ok_status() : tokenizer.status();
}

TEST(TokenizerKinds, RefuseWhatTheirFilesGetWrong) {
  std::vector<std::pair<std::string, std::string>> files = {
      {R"({"model":{"type":"Unigram","vocab":[["a"]]}})", "piece 0"},
      {R"({"model":{"type":"Unigram","vocab":[["a",0]],"unk_id":7}})", "unk_id"},
      {R"({"model":{"type":"Unigram","vocab":{"a":0}}})", "vocab"},
      {R"({"model":{"type":"WordPiece","vocab":[]}})", "vocab"},
      {R"({"model":{"type":"WordPiece","vocab":{"a":0},"max_input_chars_per_word":-1}})",
       "max_input_chars_per_word"},
      {R"({"model":{"type":"WordLevel","vocab":{"a":0}},"pre_tokenizer":{"type":"ByteLevel"}})",
       "ByteLevel"},
      {R"({"model":{"type":"WordLevel","vocab":{"a":0}},
           "pre_tokenizer":{"type":"Punctuation","behavior":"Sideways"}})",
       "Sideways"},
      {R"({"model":{"type":"WordLevel","vocab":{"a":0}},
           "post_processor":{"type":"BertProcessing","cls":["a",0],"sep":["b",9]}})",
       "out of range"},
      {R"({"model":{"type":"WordLevel","vocab":{"a":0}},
           "normalizer":{"type":"Precompiled","precompiled_charsmap":"AAAA"}})",
       "charsmap"},
  };
  const std::string long_piece(2000, 'a');
  files.emplace_back(R"({"model":{"type":"Unigram","vocab":[[")" + long_piece + R"(",0]]}})",
                     "1 KiB");
  files.emplace_back(R"({"model":{"type":"WordPiece","vocab":{")" + long_piece + R"(":0}}})",
                     "1 KiB");
  for (const auto& [json, part] : files) {
    const Status status = load_error(json);
    EXPECT_FALSE(status.ok()) << json;
    EXPECT_NE(status.message().find(part), std::string::npos) << status.to_string();
  }
}

TEST(TokenizerKinds, AWordOfMoreCharactersThanTheLimitIsUnknown) {
  const auto tokenizer = parse_tokenizer_json(
      R"({"model":{"type":"WordPiece","unk_token":"?","max_input_chars_per_word":3,
          "vocab":{"?":0,"é":1,"##é":2}}})");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  EXPECT_EQ((*tokenizer)->encode("ééé", {}).value(), (Ids{1, 2, 2}));
  EXPECT_EQ((*tokenizer)->encode("éééé", {}).value(), Ids{0});
}

TEST(TokenizerKinds, WithoutAnUnknownTokenRefuseUnknownText) {
  for (const std::string type : {"WordLevel", "WordPiece"}) {
    const auto tokenizer =
        parse_tokenizer_json(R"({"model":{"type":")" + type + R"(","vocab":{"a":0}}})");
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
    EXPECT_EQ((*tokenizer)->encode("a", {}).value(), Ids{0});
    EXPECT_EQ((*tokenizer)->encode("b", {}).status().code(), StatusCode::kInvalidArgument);
  }
}

TEST(TokenizerKinds, PunctuationKnowsEveryBehavior) {
  const std::vector<std::pair<std::string, Ids>> behaviors = {{"Removed", {0, 1}},
                                                              {"Isolated", {0, 2, 2, 1}},
                                                              {"MergedWithPrevious", {3, 2, 1}},
                                                              {"MergedWithNext", {0, 2, 4}},
                                                              {"Contiguous", {0, 5, 1}}};
  for (const auto& [behavior, ids] : behaviors) {
    const auto tokenizer = parse_tokenizer_json(
        R"({"model":{"type":"WordLevel","vocab":{"a":0,"b":1,"!":2,"a!":3,"!b":4,"!!":5}},
            "pre_tokenizer":{"type":"Punctuation","behavior":")" +
        behavior + "\"}}");
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
    EXPECT_EQ((*tokenizer)->encode("a!!b", {}).value(), ids) << behavior;
  }
}

TEST(Charsmap, SurvivesTriesThatPointAnywhere) {
  // One unit whose offset leads beyond the array, and one whose leaf lies beyond the replacements.
  const std::string beyond("\x04\0\0\0\xFF\xFF\xFF\x7F", 8);
  const auto map = Charsmap::parse(beyond);
  ASSERT_TRUE(map.ok());
  EXPECT_EQ(map->apply("abc").value(), "abc");
  EXPECT_FALSE(Charsmap::parse(std::string_view("\xFF\xFF\0\0x", 5)).ok());
  EXPECT_FALSE(Charsmap::parse("").ok());
}

}  // namespace
}  // namespace octavo::text
