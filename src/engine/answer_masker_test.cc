// Tests of AnswerMasker and MaskerFactory: grammar and thinking in one answer.
#include "engine/answer_masker.h"

#include <gtest/gtest.h>

#include "engine/masker_factory.h"
#include "text/grammar/testing_vocabulary.h"

namespace octavo {
namespace {

const text::TestVocabulary& vocabulary() {
  static const text::TestVocabulary tokens;
  return tokens;
}

// An answer that is written text by text, each token checked against the mask.
class Answer {
 public:
  explicit Answer(const SamplingParams& params) {
    static MaskerFactory factory(vocabulary(), vocabulary().vocab_size(), {vocabulary().end()});
    auto made = factory.make(params);
    EXPECT_TRUE(made.ok()) << made.status().to_string();
    masker_ = (*made)();
  }
  bool allows(TokenId id) {
    const std::vector<uint32_t> mask = this->mask();
    return (mask[static_cast<size_t>(id) / 32] >> (id % 32) & 1) != 0;
  }
  bool allows_end() { return allows(vocabulary().end()); }
  bool write(TokenId id) {
    if (ended() || !allows(id)) return false;
    masker_->accept(id);
    EXPECT_TRUE(masker_->status().ok()) << masker_->status().to_string();
    return true;
  }
  // False at the first token that is not allowed.
  bool write(const std::string& text) {
    const std::vector<TokenId> ids = vocabulary().encode(text, {}).value();
    for (const TokenId id : ids) {
      if (!write(id)) return false;
    }
    return true;
  }
  bool ended() const { return masker_->ended(); }
  Status status() const { return masker_->status(); }
  // Allowed tokens, counted.
  int count() {
    int n = 0;
    for (const uint32_t word : mask()) n += __builtin_popcount(word);
    return n;
  }

 private:
  std::vector<uint32_t> mask() {
    std::vector<uint32_t> mask((static_cast<size_t>(vocabulary().vocab_size()) + 31) / 32, 0);
    masker_->fill(mask);
    return mask;
  }
  std::unique_ptr<TokenMasker> masker_;
};

SamplingParams choice(const std::string& list) {
  SamplingParams params;
  params.structured_output = StructuredOutput{StructuredOutput::Kind::kChoice, list};
  return params;
}
SamplingParams with_thinking(SamplingParams params, bool open, std::optional<int> most = {}) {
  params.thinking = ThinkingBlock{"<think>", "</think>", open, most};
  return params;
}

TEST(AnswerMasker, EndsTheAnswerWhenNothingCanFollow) {
  Answer answer(choice(R"(["yes","no"])"));
  EXPECT_TRUE(answer.write("ye"));
  EXPECT_FALSE(answer.ended());
  EXPECT_FALSE(answer.allows_end());
  EXPECT_TRUE(answer.write("s"));
  EXPECT_TRUE(answer.ended());
}

TEST(AnswerMasker, AllowsTheEndWhereTheGrammarMayEndAndGoesOnOtherwise) {
  Answer answer(choice(R"(["a","abc"])"));
  EXPECT_TRUE(answer.write("a"));
  EXPECT_FALSE(answer.ended());
  EXPECT_TRUE(answer.allows_end());
  EXPECT_TRUE(answer.write("b"));
  EXPECT_FALSE(answer.allows_end());
  EXPECT_TRUE(answer.write("c"));
  EXPECT_TRUE(answer.ended());
}

TEST(AnswerMasker, SaysThatAGrammarHasLedIntoARuleThatMatchesNothing) {
  SamplingParams params;
  params.structured_output =
      StructuredOutput{StructuredOutput::Kind::kGrammar, "root ::= \"a\" x\nx ::= \"b\" x"};
  Answer endless(params);
  EXPECT_TRUE(endless.write("abbb"));
  params.structured_output->text = "root ::= \"a\" x\nx ::= x";
  Answer dead(params);
  EXPECT_TRUE(dead.write("a"));
  EXPECT_EQ(dead.count(), 0);
  EXPECT_EQ(dead.status().code(), StatusCode::kInvalidArgument);
}

TEST(AnswerMasker, TreatsTheStopTokensOfTheRequestAsEnds) {
  SamplingParams params = choice(R"(["a","ax"])");
  params.stop_token_ids = {'x', 'q'};
  Answer answer(params);
  EXPECT_FALSE(answer.allows('q'));
  EXPECT_TRUE(answer.write("a"));
  EXPECT_TRUE(answer.allows('q'));
}

TEST(AnswerMasker, LeavesAnOpenBlockOfThinkingAloneAndThenFollowsTheGrammar) {
  Answer answer(with_thinking(choice(R"(["yes","no"])"), true));
  EXPECT_TRUE(answer.write("anything { <b> </thin no"));
  EXPECT_FALSE(answer.allows_end());  // there would be no answer
  EXPECT_TRUE(answer.write("</thi"));
  EXPECT_TRUE(answer.write("nk>"));
  EXPECT_FALSE(answer.allows('a'));
  EXPECT_FALSE(answer.allows_end());
  EXPECT_TRUE(answer.write("no"));
  EXPECT_TRUE(answer.ended());
}

TEST(AnswerMasker, LetsAnAnswerOpenABlockOrBeginAtOnce) {
  Answer thinks(with_thinking(choice(R"(["yes","<no>"])"), false));
  EXPECT_FALSE(thinks.allows('x'));
  EXPECT_TRUE(thinks.write("<think>x x</think>yes"));
  EXPECT_TRUE(thinks.ended());
  Answer begins(with_thinking(choice(R"(["yes","<no>"])"), false));
  EXPECT_TRUE(begins.write("yes"));
  EXPECT_TRUE(begins.ended());
  Answer unclear(with_thinking(choice(R"(["yes","<no>"])"), false));
  EXPECT_TRUE(unclear.write("<no>"));
  EXPECT_TRUE(unclear.ended());
}

TEST(AnswerMasker, AllowsNoTokenThatEndsTheThinkingAndBeginsWhatTheGrammarDidNotSee) {
  SamplingParams params = choice(R"(["yes"])");
  params.thinking = ThinkingBlock{"<t>", ":/", true, {}};  // "://" ends it and goes on
  Answer answer(params);
  EXPECT_FALSE(answer.allows(vocabulary().token_id("://")));
  EXPECT_TRUE(answer.allows('/'));
  EXPECT_TRUE(answer.write("x:"));
  EXPECT_TRUE(answer.write("/yes"));
  EXPECT_TRUE(answer.ended());
}

TEST(AnswerMasker, ForcesTheEndOfThinkingThatUsesUpItsBudget) {
  Answer answer(with_thinking({}, true, 3));
  EXPECT_TRUE(answer.write("xyz"));
  for (const char c : std::string("</think>")) {
    EXPECT_EQ(answer.count(), 1);
    EXPECT_TRUE(answer.write(TokenId{c}));
  }
  EXPECT_TRUE(answer.write("free { text"));
  EXPECT_FALSE(answer.ended());
}

TEST(AnswerMasker, ABudgetOfNothingEndsTheThinkingAtOnce) {
  Answer answer(with_thinking(choice(R"(["yes"])"), true, 0));
  EXPECT_EQ(answer.count(), 1);
  EXPECT_TRUE(answer.write("</think>yes"));
  EXPECT_TRUE(answer.ended());
}

TEST(MaskerFactory, MakesNoneWhereNothingIsConstrained) {
  MaskerFactory factory(vocabulary(), vocabulary().vocab_size(), {vocabulary().end()});
  EXPECT_FALSE(*factory.make(SamplingParams()));
  EXPECT_FALSE(*factory.make(with_thinking({}, true)));
}

TEST(MaskerFactory, NamesTheFieldOfARefusedGrammar) {
  MaskerFactory factory(vocabulary(), vocabulary().vocab_size(), {vocabulary().end()});
  SamplingParams params;
  params.structured_output = StructuredOutput{StructuredOutput::Kind::kJsonSchema, R"({"not":{}})",
                                              false, "response_format"};
  const auto made = factory.make(params);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.status().param(), "response_format");
}

}  // namespace
}  // namespace octavo
