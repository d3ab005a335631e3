// Tests of structured output: grammars against instances, against random walks through their masks,
// and against those who would break the compiler. The schemas are those of tests/data/schemas.
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <thread>

#include "base/testing_files.h"
#include "base/utf8.h"
#include "octavo/value.h"
#include "text/grammar/grammar_compiler.h"
#include "text/grammar/grammar_source.h"
#include "text/grammar/json_pattern.h"
#include "text/grammar/testing_vocabulary.h"

namespace octavo::text {
namespace {

using Kind = StructuredOutput::Kind;
using Grammar = std::shared_ptr<const CompiledGrammar>;

const TestVocabulary& vocabulary() {
  static const TestVocabulary tokens;
  return tokens;
}

GrammarCompiler& compiler() {
  static GrammarCompiler instance(vocabulary(), vocabulary().vocab_size(), {vocabulary().end()});
  return instance;
}

StatusOr<Grammar> compile(Kind kind, const std::string& text) {
  return compiler().compile({kind, text});
}

std::vector<Value> rows_of(const std::string& name) {
  std::ifstream file(octavo::testing::source_dir() / "tests/data/schemas" / (name + ".jsonl"));
  std::vector<Value> rows;
  for (std::string line; std::getline(file, line);) {
    auto row = parse_json(line);
    EXPECT_TRUE(row.ok()) << line;
    if (row.ok()) rows.push_back(std::move(*row));
  }
  EXPECT_FALSE(rows.empty()) << name;
  return rows;
}

std::vector<uint32_t> mask_of(GrammarMatcher& matcher) {
  std::vector<uint32_t> mask((static_cast<size_t>(vocabulary().vocab_size()) + 31) / 32, 0);
  matcher.fill(mask);
  return mask;
}
bool has(const std::vector<uint32_t>& mask, TokenId id) {
  return (mask[static_cast<size_t>(id) / 32] >> (id % 32) & 1) != 0;
}

// Follows the tokens of `text`; whether it is a whole answer. Mask and accept() must agree.
bool accepts(const Grammar& grammar, const std::string& text) {
  GrammarMatcher matcher(grammar);
  const std::vector<TokenId> ids = vocabulary().encode(text, {}).value();
  for (const TokenId id : ids) {
    const bool allowed = has(mask_of(matcher), id);
    EXPECT_EQ(matcher.accept(id), allowed) << text;
    if (!allowed) return false;
  }
  const bool ends = has(mask_of(matcher), vocabulary().end());
  EXPECT_EQ(ends, matcher.may_end()) << text;
  return ends;
}
bool accepts(Kind kind, const std::string& source, const std::string& text) {
  const auto grammar = compile(kind, source);
  EXPECT_TRUE(grammar.ok()) << grammar.status().to_string();
  return grammar.ok() && accepts(*grammar, text);
}

// A walk that takes any token the mask allows, and the end as soon as it may once it is long.
std::string walk(const Grammar& grammar, std::mt19937& random, size_t enough) {
  GrammarMatcher matcher(grammar);
  std::string text;
  for (int steps = 0; steps < 4000; ++steps) {
    const std::vector<uint32_t> mask = mask_of(matcher);
    std::vector<TokenId> allowed;
    for (TokenId id = 0; id < vocabulary().vocab_size(); ++id) {
      if (has(mask, id)) allowed.push_back(id);
    }
    if (allowed.empty()) return "stuck after " + text;
    const bool long_enough = text.size() >= enough;
    TokenId next = allowed[random() % allowed.size()];
    if (long_enough && matcher.may_end()) next = vocabulary().end();
    // Brackets and quotes close what the others open, or the walk would not come home.
    std::vector<TokenId> closing;
    for (const char c : {'"', '}', ']'}) {
      if (has(mask, c)) closing.push_back(c);
    }
    if (long_enough && !matcher.may_end() && !closing.empty() && random() % 8 != 0)
      next = closing[random() % closing.size()];
    EXPECT_TRUE(matcher.accept(next));
    if (matcher.ended()) return replace_invalid_utf8(text);  // as decoding does
    text += vocabulary().token_bytes(next);
  }
  return "endless " + text;
}

class Schemas : public ::testing::TestWithParam<const char*> {};

TEST_P(Schemas, AcceptTheirValidInstancesAndRefuseTheInvalid) {
  for (const Value& row : rows_of(GetParam())) {
    SCOPED_TRACE(row.find("name")->as_string() + ": " + to_json(*row.find("schema")));
    const auto grammar = compile(Kind::kJsonSchema, to_json(*row.find("schema")));
    ASSERT_TRUE(grammar.ok()) << grammar.status().to_string();
    for (const Value& value : row.find("valid")->as_list())
      EXPECT_TRUE(accepts(*grammar, to_json(value))) << to_json(value);
    for (const Value& value : row.find("invalid")->as_list())
      EXPECT_FALSE(accepts(*grammar, to_json(value))) << to_json(value);
  }
}

TEST_P(Schemas, LeadRandomWalksToJson) {
  std::mt19937 random(1);
  for (const Value& row : rows_of(GetParam())) {
    SCOPED_TRACE(row.find("name")->as_string());
    const auto grammar = compile(Kind::kJsonSchema, to_json(*row.find("schema")));
    ASSERT_TRUE(grammar.ok());
    for (const size_t enough : {0, 10, 60}) {
      const std::string text = walk(*grammar, random, enough);
      EXPECT_TRUE(parse_json(text).ok()) << text.substr(0, 500);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Of, Schemas,
                         ::testing::Values("pydantic", "zod", "keywords", "annotations"),
                         [](const auto& info) { return std::string(info.param); });

TEST(RefusedSchemas, NameTheKeywordThatIsNotEnforced) {
  for (const Value& row : rows_of("refused")) {
    const std::string schema = to_json(*row.find("schema"));
    const auto grammar = compile(Kind::kJsonSchema, schema);
    ASSERT_FALSE(grammar.ok()) << schema;
    EXPECT_EQ(grammar.status().code(), StatusCode::kInvalidArgument);
    const std::string keyword = "`" + row.find("keyword")->as_string() + "`";
    EXPECT_NE(grammar.status().message().find(keyword), std::string::npos)
        << schema << ": " << grammar.status().message();
  }
}

TEST(JsonObject, IsAnyObjectAndNothingElse) {
  EXPECT_TRUE(accepts(Kind::kJsonObject, "", R"({"a": [1, {"b": null}], "c": "é\n"})"));
  EXPECT_TRUE(accepts(Kind::kJsonObject, "", "{}"));
  EXPECT_FALSE(accepts(Kind::kJsonObject, "", "[1]"));
  EXPECT_FALSE(accepts(Kind::kJsonObject, "", R"({"a": 1,})"));
}

TEST(Regex, MatchesTheWholeAnswer) {
  EXPECT_TRUE(accepts(Kind::kRegex, "\\d{4}-(0[1-9]|1[0-2])", "2026-11"));
  EXPECT_FALSE(accepts(Kind::kRegex, "\\d{4}-(0[1-9]|1[0-2])", "2026-13"));
  EXPECT_FALSE(accepts(Kind::kRegex, "ab?", "abb"));
  EXPECT_TRUE(accepts(Kind::kRegex, "[^x]+é", "日日é"));
}

TEST(Choice, IsOneOfTheStringsWhateverTheyHold) {
  const std::string choices = R"(["yes","no","a \"b\" \\ c","日本","yes please","\n"])";
  for (const char* choice : {"yes", "no", "a \"b\" \\ c", "日本", "yes please", "\n"})
    EXPECT_TRUE(accepts(Kind::kChoice, choices, choice)) << choice;
  for (const char* other : {"ye", "maybe", "yesno", ""})
    EXPECT_FALSE(accepts(Kind::kChoice, choices, other)) << other;
}

TEST(Ebnf, TakesGbnfWithCommentsAlternativesAndCounts) {
  const std::string grammar = R"(# a list of words
root ::= "- " word ("\n- " word){0,2} end?
word ::= [a-z]+
       | "<" [^<>]* ">"  # in angles
end ::= "."
)";
  EXPECT_TRUE(accepts(Kind::kGrammar, grammar, "- ab\n- <X y>\n- c."));
  EXPECT_FALSE(accepts(Kind::kGrammar, grammar, "- ab\n- A"));
  EXPECT_FALSE(accepts(Kind::kGrammar, grammar, "- a\n- b\n- c\n- d"));
}

TEST(StructuralTags, ConstrainWhatStandsBetweenThem) {
  const std::string schema =
      R"({"type":"object","properties":{"x":{"type":"integer"}},"required":["x"]})";
  const std::string modern =
      R"({"type":"structural_tag","format":{"type":"triggered_tags","triggers":["<f>"],"tags":[{"begin":"<f>","content":{"type":"json_schema","json_schema":)" +
      schema + R"(},"end":"</f>"}]}})";
  const std::string older = R"({"type":"structural_tag","structures":[{"begin":"<f>","schema":)" +
                            schema + R"(,"end":"</f>"}],"triggers":["<f>"]})";
  for (const std::string& tag : {modern, older}) {
    EXPECT_TRUE(accepts(Kind::kStructuralTag, tag, R"(words <f>{"x": 1}</f> more)"));
    EXPECT_TRUE(accepts(Kind::kStructuralTag, tag, "words alone"));
    EXPECT_FALSE(accepts(Kind::kStructuralTag, tag, R"(words <f>{"x": "1"}</f>)"));
  }
  const auto refused = compile(
      Kind::kStructuralTag,
      R"({"type":"structural_tag","structures":[{"begin":"<f>","schema":{"not":{}},"end":"</f>"}],"triggers":["<f>"]})");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("`not`"), std::string::npos);
}

TEST(SpecialTokens, AreNeverDrawnForTheirTextButWhereATagMayNameThem) {
  const auto string = compile(Kind::kRegex, ".*");
  GrammarMatcher plain(*string);
  EXPECT_FALSE(has(mask_of(plain), vocabulary().end() - 1));
  const auto tag = compile(
      Kind::kStructuralTag,
      R"({"type":"structural_tag","format":{"type":"tag","begin":"<|special|>","content":{"type":"json_schema","json_schema":{"type":"boolean"}},"end":"!"}})");
  ASSERT_TRUE(tag.ok()) << tag.status().to_string();
  GrammarMatcher tagged(*tag);
  EXPECT_TRUE(has(mask_of(tagged), vocabulary().end() - 1));
}

TEST(Malformed, SourcesAreRefusedWithAReason) {
  const std::pair<Kind, const char*> cases[] = {{Kind::kJsonSchema, "{"},
                                                {Kind::kJsonSchema, "3"},
                                                {Kind::kJsonSchema, ""},
                                                {Kind::kRegex, "(a"},
                                                {Kind::kRegex, ""},
                                                {Kind::kRegex, "a(?!b)"},
                                                {Kind::kRegex, "[a"},
                                                {Kind::kRegex, "a{2,1}"},
                                                {Kind::kRegex, "a**"},
                                                {Kind::kChoice, "[]"},
                                                {Kind::kChoice, "[1]"},
                                                {Kind::kChoice, "x"},
                                                {Kind::kGrammar, "root ::= a"},
                                                {Kind::kGrammar, "a ::= \"b\""},
                                                {Kind::kGrammar, ""},
                                                {Kind::kStructuralTag, "{}"},
                                                {Kind::kStructuralTag, "[]"}};
  for (const auto& [kind, text] : cases) {
    const auto grammar = compile(kind, text);
    ASSERT_FALSE(grammar.ok()) << name_of(kind) << " " << text;
    EXPECT_EQ(grammar.status().code(), StatusCode::kInvalidArgument);
    EXPECT_FALSE(grammar.status().message().empty());
  }
}

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

// None of these may hang, crash or take all memory; whether it is refused is no matter.
TEST(Hostile, SourcesAreCompiledOrRefusedWithinTheLimits) {
  GrammarCompiler small(vocabulary(), vocabulary().vocab_size(), {vocabulary().end()},
                        {.cpu_seconds = 0.5, .memory_bytes = int64_t{128} << 20});
  std::string bomb = R"({"$defs":{"a0":{"type":"string"})";
  for (int i = 1; i < 24; ++i) {
    const std::string last = R"({"$ref":"#/$defs/a)" + std::to_string(i - 1) + "\"}";
    bomb += ",\"a" + std::to_string(i) + R"(":{"allOf":[)" + last + "," + last + "]}";
  }
  bomb += R"(},"$ref":"#/$defs/a23"})";
  std::string wide = R"({"type":"object","properties":{)";
  for (int i = 0; i < 3000; ++i)
    wide += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + R"(":{"type":"string","maxLength":30})";
  const std::pair<Kind, std::string> cases[] = {
      {Kind::kRegex, "(((a{1000}){1000}){1000}){1000}"},
      {Kind::kRegex, repeated("(", 250) + "a" + repeated("){0,9}", 250)},
      {Kind::kRegex, repeated("(", 100000)},
      {Kind::kRegex, repeated("(.*a){1,99}", 500)},
      {Kind::kRegex, repeated("[^a]{3,500}", 500)},
      {Kind::kRegex, repeated("a|", 100000)},
      {Kind::kRegex, repeated("^", 100000)},
      {Kind::kGrammar, "root ::= root"},
      {Kind::kGrammar, "root ::= root root | \"a\" | \"\""},
      {Kind::kGrammar, "root ::= " + repeated("(\"a\" | ", 250) + "\"b\"" + repeated(")*", 250)},
      {Kind::kGrammar, "root ::= [a-z]{1,2000000000}"},
      {Kind::kGrammar, "root ::= " + repeated("\"a\"? ", 30000)},
      {Kind::kJsonSchema, bomb},
      {Kind::kJsonSchema, wide + "}}"},
      {Kind::kJsonSchema, repeated("[", 100000)},
      {Kind::kJsonSchema, R"({"$defs":{"a":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"})"},
      {Kind::kJsonSchema, R"({"$defs":{"a":{"allOf":[{"$ref":"#/$defs/a"}]}},"$ref":"#/$defs/a"})"},
      {Kind::kJsonSchema, R"({"type":"string","pattern":"^(.{0,120}a){0,120}$"})"},
      {Kind::kJsonSchema, R"({"type":"array","items":{"$ref":"#"},"minItems":100000000})"},
      {Kind::kJsonSchema, R"({"type":"integer","multipleOf":1023})"},
      {Kind::kStructuralTag, R"({"type":"structural_tag","format":)" +
                                 repeated(R"({"type":"sequence","elements":[)", 60) +
                                 repeated("]}", 60) + "}"}};
  for (const auto& [kind, text] : cases) {
    const auto grammar = small.compile({kind, text});
    if (!grammar.ok()) {
      EXPECT_FALSE(grammar.status().message().empty());
      continue;
    }
    GrammarMatcher matcher(*grammar);
    for (int i = 0; i < 200 && !matcher.failed(); ++i) {
      const std::vector<uint32_t> mask = mask_of(matcher);
      if (!has(mask, 'a') || !matcher.accept('a')) break;
    }
  }
}

TEST(Compiler, ServesManyThreadsAndForgetsWhatDoesNotFit) {
  GrammarCompiler tiny(vocabulary(), vocabulary().vocab_size(), {vocabulary().end()},
                       {.cache_bytes = 100'000});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 30; ++i) {
        const auto grammar =
            tiny.compile({Kind::kChoice, "[\"a" + std::to_string((i * t) % 17) + "\"]"});
        ASSERT_TRUE(grammar.ok());
        EXPECT_TRUE(accepts(*grammar, "a" + std::to_string((i * t) % 17)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Compiler, ThatGetsNoThreadRefusesAndKeepsNothing) {
  GrammarCompiler idle(vocabulary(), vocabulary().vocab_size(), {vocabulary().end()},
                       {.threads = 0});
  for (int i = 0; i < 2; ++i) {
    const auto grammar = idle.compile({Kind::kChoice, "[\"a\"]"});
    EXPECT_EQ(grammar.status().code(), StatusCode::kResourceExhausted);
  }
}

TEST(PatternLengths, AreThoseOfTheShortestAndLongestMatch) {
  const auto lengths = [](const char* pattern) {
    const PatternLengths l = lengths_of_pattern(pattern);
    return std::pair(l.least, l.most);
  };
  EXPECT_EQ(lengths("^[a-z]{2,5}(x|yz)?$"), std::pair(2, 7));
  EXPECT_EQ(lengths("^a+$"), std::pair(1, -1));
  EXPECT_EQ(lengths("^\\d{4}-\\d$"), std::pair(6, 6));
  EXPECT_EQ(lengths("^(a{1000000}){1000000}$"), std::pair(1'000'000, -1));
  EXPECT_EQ(lengths("^\\x41$"), std::pair(0, -1));
}

}  // namespace
}  // namespace octavo::text
