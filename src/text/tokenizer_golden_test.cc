// Tokenizers against goldens of Hugging Face's. Those of other models stand outside the repository;
// without them a test is skipped by name.
#include <gtest/gtest.h>

#include <cstdio>
#include <sstream>

#include "base/json_writer.h"
#include "base/testing_files.h"
#include "octavo/value.h"
#include "text/testing_tokenizer.h"

namespace octavo::text {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<TokenId>;
using octavo::testing::read_file;
using octavo::testing::shared_folder;

fs::path goldens_dir(const std::string& name) {
  return shared_folder() / "data" / "tokenizers" / name;
}

fs::path tokenizer_path(const std::string& name) {
  if (name == "octavo-tiny") return octavo_tiny_path();
  return goldens_dir(name);
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
class Goldens : public ::testing::TestWithParam<GoldenCase> {};

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
                         ::testing::Values(GoldenCase{"octavo-tiny", "octavo-tiny"},
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

class StreamGoldens : public ::testing::TestWithParam<std::string> {};

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

INSTANTIATE_TEST_SUITE_P(All, StreamGoldens, ::testing::Values("gpt2", "llama2", "octavo-tiny"),
                         [](const auto& param) {
                           return param.param == "octavo-tiny" ? "octavotiny" : param.param;
                         });
}  // namespace
}  // namespace octavo::text
