// AnswerMasker: the TokenMasker of one answer: the grammar it has to follow, and the thinking that
// may come first and follows none. Engine thread.
//
//   kMayThink ─ the answer begins with ThinkingBlock::start ─► kThinking ─ …::end ─► kAnswer
//        └───── it begins with something else ────────────────────────────────────────┘
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/token_masker.h"
#include "text/grammar/grammar.h"
#include "text/tokenizer.h"

namespace octavo {

// What all answers of a request share.
struct AnswerConstraint {
  const text::Tokenizer* tokenizer = nullptr;
  int vocab_size = 0;
  std::shared_ptr<const text::CompiledGrammar> grammar;  // null: anything
  std::vector<TokenId> eos_ids;                          // of the model
  std::vector<TokenId> stop_ids;                         // of the request
  std::optional<ThinkingBlock> thinking;
  std::vector<TokenId> thinking_end;  // thinking->end as tokens: to force it
  // Tokens that hold the last character of thinking->end and text after it: one that ends the
  // block in its middle begins the answer, unseen by the grammar.
  std::vector<TokenId> straddlers;
};

class AnswerMasker final : public TokenMasker {
 public:
  explicit AnswerMasker(std::shared_ptr<const AnswerConstraint> constraint);

  void accept(TokenId token) override;
  bool ended() const override { return ended_; }
  Status status() const override;
  void fill(std::span<uint32_t> mask) override;

 private:
  enum class Phase { kMayThink, kThinking, kAnswer };

  void accept_opening(TokenId token, std::string_view bytes);
  void accept_thought(std::string_view bytes);
  void accept_answer(TokenId token);
  void fill_opening(std::span<uint32_t> mask);
  void fill_thought(std::span<uint32_t> mask) const;
  void fill_answer(std::span<uint32_t> mask);
  void fill_grammar(std::span<uint32_t> mask);
  bool follows_end(std::string_view rest);
  void look_whether_ended();

  const std::shared_ptr<const AnswerConstraint> constraint_;
  std::unique_ptr<text::GrammarMatcher> matcher_;  // null: no grammar, or the answer thinks instead
  Phase phase_ = Phase::kAnswer;
  std::string tail_;      // kMayThink: the answer so far; kThinking: the last bytes, short of `end`
  int num_thoughts_ = 0;  // tokens within the block
  bool refused_ = false;  // a token came that the mask did not allow
  bool ended_ = false;
  bool dead_end_ = false;       // the grammar has a rule that matches nothing, and led into it
  std::vector<uint32_t> next_;  // the mask of what follows, if it is known already
};

}  // namespace octavo
