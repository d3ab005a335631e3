// tokenizer.json: files that lie, files that ask for what there is none of, and the added tokens
// that they declare.
#include <gtest/gtest.h>

#include "text/testing_tokenizer.h"

namespace octavo::text {
namespace {

using Ids = std::vector<TokenId>;

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
