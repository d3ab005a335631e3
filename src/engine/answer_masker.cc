#include "engine/answer_masker.h"

#include <algorithm>

namespace octavo {
namespace {

void set_bit(std::span<uint32_t> mask, TokenId id, bool value) {
  const uint32_t bit = uint32_t{1} << (id % 32);
  uint32_t& word = mask[static_cast<size_t>(id) / 32];
  word = value ? word | bit : word & ~bit;
}

bool one_begins_the_other(std::string_view a, std::string_view b) {
  return a.starts_with(b) || b.starts_with(a);
}

}  // namespace

AnswerMasker::AnswerMasker(std::shared_ptr<const AnswerConstraint> constraint)
    : constraint_(std::move(constraint)) {
  if (constraint_->grammar) matcher_ = std::make_unique<text::GrammarMatcher>(constraint_->grammar);
  if (const auto& block = constraint_->thinking) {
    phase_ = block->open            ? Phase::kThinking
             : block->start.empty() ? Phase::kAnswer
                                    : Phase::kMayThink;
  }
}

Status AnswerMasker::status() const {
  if (refused_) return internal_error("a token was drawn that the grammar does not allow");
  if (dead_end_) return invalid_argument("the grammar comes to an end that no answer can reach");
  if (!matcher_ || !matcher_->failed()) return ok_status();
  return invalid_argument("the grammar is too ambiguous to follow");
}

void AnswerMasker::accept(TokenId token) {
  next_.clear();
  const std::string_view bytes = constraint_->tokenizer->token_bytes(token);
  switch (phase_) {
    case Phase::kMayThink:
      return accept_opening(token, bytes);
    case Phase::kThinking:
      ++num_thoughts_;
      return accept_thought(bytes);
    case Phase::kAnswer:
      return accept_answer(token);
  }
}

// Until it is clear which of the two begins, the grammar follows as well as it can.
void AnswerMasker::accept_opening(TokenId token, std::string_view bytes) {
  tail_ += bytes;
  const std::string& start = constraint_->thinking->start;
  if (tail_.starts_with(start)) {
    phase_ = Phase::kThinking;
    if (constraint_->grammar)  // from its beginning again
      matcher_ = std::make_unique<text::GrammarMatcher>(constraint_->grammar);
    const std::string thought = tail_.substr(start.size());
    tail_.clear();
    return accept_thought(thought);
  }
  const bool may_think = start.starts_with(tail_);
  if (may_think) {
    if (matcher_ && !matcher_->accept(token) && !matcher_->failed()) matcher_.reset();
    return;
  }
  phase_ = Phase::kAnswer;
  if (constraint_->grammar && !matcher_) refused_ = true;
  accept_answer(token);
}

void AnswerMasker::accept_thought(std::string_view bytes) {
  const std::string& end = constraint_->thinking->end;
  tail_ += bytes;
  const size_t at = tail_.find(end);
  if (at == std::string::npos) {
    if (tail_.size() >= end.size()) tail_.erase(0, tail_.size() - (end.size() - 1));
    return;
  }
  phase_ = Phase::kAnswer;
  if (!follows_end(std::string_view(tail_).substr(at + end.size()))) refused_ = true;
  if (!refused_) look_whether_ended();
}

// White space between thinking and answer is neither's.
bool AnswerMasker::follows_end(std::string_view rest) {
  rest.remove_prefix(std::min(rest.find_first_not_of(" \t\r\n"), rest.size()));
  return rest.empty() || !matcher_ || matcher_->accept_text(rest);
}

void AnswerMasker::accept_answer(TokenId token) {
  if (!matcher_) return;
  // One of the request's own stop tokens before min_tokens: the engine goes on after it.
  const std::vector<TokenId>& stop_ids = constraint_->stop_ids;
  const bool stop = std::find(stop_ids.begin(), stop_ids.end(), token) != stop_ids.end();
  if (!matcher_->accept(token)) {
    if (stop && matcher_->may_end()) {
      ended_ = true;
    } else {
      refused_ = !matcher_->failed();
    }
    return;
  }
  look_whether_ended();
}

void AnswerMasker::look_whether_ended() {
  if (!matcher_) return;
  if (matcher_->ended()) ended_ = true;
  if (ended_ || !matcher_->may_end()) return;
  std::vector<uint32_t> mask((static_cast<size_t>(constraint_->vocab_size) + 31) / 32);
  fill_grammar(mask);
  next_ = mask;
  for (const TokenId id : constraint_->eos_ids) set_bit(mask, id, false);
  for (const TokenId id : constraint_->stop_ids) set_bit(mask, id, false);
  ended_ = std::all_of(mask.begin(), mask.end(), [](uint32_t word) { return word == 0; });
}

void AnswerMasker::fill(std::span<uint32_t> mask) {
  switch (phase_) {
    case Phase::kMayThink:
      return fill_opening(mask);
    case Phase::kThinking:
      return fill_thought(mask);
    case Phase::kAnswer:
      return fill_answer(mask);
  }
}

void AnswerMasker::fill_opening(std::span<uint32_t> mask) {
  if (!constraint_->grammar) return std::fill(mask.begin(), mask.end(), ~uint32_t{0});
  if (matcher_) fill_grammar(mask);
  const std::string_view left = std::string_view(constraint_->thinking->start).substr(tail_.size());
  for (TokenId id = 0; id < constraint_->vocab_size; ++id) {
    const std::string_view bytes = constraint_->tokenizer->token_bytes(id);
    if (bytes.empty() || bytes.front() != left.front()) continue;
    if (one_begins_the_other(bytes, left)) set_bit(mask, id, true);
  }
}

void AnswerMasker::fill_thought(std::span<uint32_t> mask) const {
  const std::optional<int>& most = constraint_->thinking->max_tokens;
  if (most && num_thoughts_ >= *most && !constraint_->thinking_end.empty()) {
    const auto forced = static_cast<size_t>(num_thoughts_ - *most);
    const std::vector<TokenId>& end = constraint_->thinking_end;
    return set_bit(mask, end[std::min(forced, end.size() - 1)], true);
  }
  std::fill(mask.begin(), mask.end(), ~uint32_t{0});
  if (constraint_->grammar) {  // an answer that ends here would have none of it
    for (const TokenId id : constraint_->eos_ids) set_bit(mask, id, false);
  }
  const std::string& end = constraint_->thinking->end;
  for (const TokenId id : constraint_->straddlers) {
    const std::string text = tail_ + std::string(constraint_->tokenizer->token_bytes(id));
    const size_t at = text.find(end);
    if (at != std::string::npos &&
        text.find_first_not_of(" \t\r\n", at + end.size()) != std::string::npos)
      set_bit(mask, id, false);
  }
}

void AnswerMasker::fill_answer(std::span<uint32_t> mask) {
  if (!matcher_) return std::fill(mask.begin(), mask.end(), ~uint32_t{0});
  if (next_.empty()) return fill_grammar(mask);
  std::copy(next_.begin(), next_.end(), mask.begin());
}

void AnswerMasker::fill_grammar(std::span<uint32_t> mask) {
  matcher_->fill(mask);
  const bool may_end = matcher_->may_end();
  for (const TokenId id : constraint_->stop_ids) set_bit(mask, id, may_end);
  dead_end_ = phase_ == Phase::kAnswer && !may_end && !matcher_->failed() &&
              std::all_of(mask.begin(), mask.end(), [](uint32_t word) { return word == 0; });
}

}  // namespace octavo
