// Which file of a directory is its tokenizer, and what is said where there is none.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/testing_directory.h"
#include "text/tokenizer.h"

namespace octavo::text {
namespace {

namespace fs = std::filesystem;

class TokenizerDirectory : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(directory_ / name, std::ios::binary) << text;
  }
  std::string error() const { return load_tokenizer(directory_).status().message(); }

  const octavo::testing::TemporaryDirectory temporary_;
  const fs::path& directory_ = temporary_.path();
};

const std::string kJson = R"({"model":{"type":"WordLevel","vocab":{"json":0}}})";

TEST(LoadTokenizer, NamesTheFile) {
  const auto missing = load_tokenizer("/no/such/place");
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_NE(missing.status().message().find("/no/such/place"), std::string::npos);
}

TEST_F(TokenizerDirectory, TakesTokenizerJsonFirst) {
  write("vocab.txt", "[UNK]\n[CLS]\n[SEP]\nabc\n");
  EXPECT_EQ(load_tokenizer(directory_).value()->token_id("abc"), 3);
  write("vocab.json", R"({"a":0,"b":1,"ab":2})");
  write("merges.txt", "#version: 0.2\na b\n");
  EXPECT_EQ(load_tokenizer(directory_).value()->token_id("ab"), 2);
  write("tokenizer.json", kJson);
  EXPECT_EQ(load_tokenizer(directory_).value()->token_id("json"), 0);
}

TEST_F(TokenizerDirectory, SaysWhatIsMissing) {
  EXPECT_NE(error().find("holds no tokenizer: tokenizer.json, tokenizer.model"), std::string::npos)
      << error();
  write("vocab.json", "{}");
  EXPECT_NE(error().find("merges.txt is missing"), std::string::npos) << error();
}

TEST_F(TokenizerDirectory, RefusesByNameWhatWeCannotRead) {
  write("tekken.json", "{}");
  EXPECT_NE(error().find("tekken.json"), std::string::npos) << error();
  fs::remove(directory_ / "tekken.json");
  write("sentencepiece.bpe.model", "");
  EXPECT_NE(error().find("sentencepiece.bpe.model"), std::string::npos) << error();
  write("own.tiktoken", "YQ== 0\n");
  EXPECT_NE(error().find("special_tokens.json"), std::string::npos) << error();
  fs::remove(directory_ / "own.tiktoken");
  write("vocab.json", "{}");
  write("merges.txt", "");
  write("tokenizer_config.json", R"({"tokenizer_class":"CLIPTokenizer"})");
  EXPECT_NE(error().find("'CLIPTokenizer'"), std::string::npos) << error();
  write("tokenizer_config.json", R"({"tokenizer_class":)");
  EXPECT_NE(error().find("tokenizer_config.json is not JSON"), std::string::npos) << error();
}

TEST_F(TokenizerDirectory, NamesTheLineOfMergesThatIsNoPair) {
  write("vocab.json", R"({"a":0,"b":1})");
  write("merges.txt", "#version: 0.2\na b c\n");
  EXPECT_NE(error().find("merges.txt, line 2"), std::string::npos) << error();
}

TEST_F(TokenizerDirectory, RefusesMergesThatAreNotUtf8) {
  write("vocab.json", R"({"a":0,"b":1})");
  write("merges.txt", "#version: 0.2\na \xF6\n");
  EXPECT_NE(error().find("merges.txt is not UTF-8"), std::string::npos) << error();
}

TEST_F(TokenizerDirectory, AModelFileMayBeSentencePieceOrTiktoken) {
  write("tokenizer.model", "not a protocol buffer");
  EXPECT_NE(error().find("tokenizer.model"), std::string::npos) << error();
  write("tokenizer.model", "YQ== 0\nYg== 1\n");
  EXPECT_NE(error().find("tiktoken"), std::string::npos) << error();
}

TEST_F(TokenizerDirectory, NamesWhatIsWrongBesideTheVocabulary) {
  write("vocab.json", R"({"a":0,"b":1})");
  write("merges.txt", "");
  write("tokenizer_config.json", R"({"added_tokens_decoder":{"x":{"content":"<a>"}}})");
  EXPECT_NE(error().find("'x' is no id"), std::string::npos) << error();
  write("tokenizer_config.json", R"({"added_tokens_decoder":{"1":{"content":"<a>"}}})");
  EXPECT_NE(error().find("id 1 stands for both"), std::string::npos) << error();
  fs::remove(directory_ / "tokenizer_config.json");
  write("added_tokens.json", R"({"<a>":-1})");
  EXPECT_NE(error().find("'<a>' has no usable id"), std::string::npos) << error();
}

TEST_F(TokenizerDirectory, IsToldFromOneThatHoldsNone) {
  EXPECT_FALSE(has_tokenizer(directory_));
  write("tekken.json", "{}");
  EXPECT_TRUE(has_tokenizer(directory_));  // not one that we read, and no reason to do without
  write("tokenizer.json", kJson);
  EXPECT_TRUE(has_tokenizer(directory_));
}

}  // namespace
}  // namespace octavo::text
