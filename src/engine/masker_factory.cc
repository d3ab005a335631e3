#include "engine/masker_factory.h"

#include "base/status_macros.h"
#include "engine/answer_masker.h"

namespace octavo {
namespace {

std::vector<TokenId> within(std::vector<TokenId> ids, int vocab_size) {
  std::erase_if(ids, [&](TokenId id) { return id < 0 || id >= vocab_size; });
  return ids;
}

std::vector<TokenId> tokens_straddling(const text::Tokenizer& tokenizer, int vocab_size,
                                       char last) {
  std::vector<TokenId> out;
  for (TokenId id = 0; id < vocab_size; ++id) {
    const std::string_view bytes = tokenizer.token_bytes(id);
    const size_t at = bytes.find(last);
    if (at != std::string_view::npos &&
        bytes.find_first_not_of(" \t\r\n", at + 1) != std::string_view::npos)
      out.push_back(id);
  }
  return out;
}

}  // namespace

MaskerFactory::MaskerFactory(const text::Tokenizer& tokenizer, int vocab_size,
                             std::vector<TokenId> eos_ids)
    : tokenizer_(tokenizer),
      vocab_size_(vocab_size),
      eos_ids_(within(std::move(eos_ids), vocab_size)),
      compiler_(tokenizer, vocab_size, eos_ids_) {}

bool MaskerFactory::needs_masker(const SamplingParams& params) {
  return params.structured_output || (params.thinking && params.thinking->max_tokens);
}

StatusOr<MaskerFactory::MakeMasker> MaskerFactory::make(const SamplingParams& params) {
  if (!needs_masker(params)) return MakeMasker();
  auto constraint = std::make_shared<AnswerConstraint>();
  constraint->tokenizer = &tokenizer_;
  constraint->vocab_size = vocab_size_;
  constraint->eos_ids = eos_ids_;
  constraint->stop_ids = within(params.stop_token_ids, vocab_size_);
  if (params.structured_output) {
    auto grammar = compiler_.compile(*params.structured_output);
    if (!grammar.ok()) return Status(grammar.status()).with_param(params.structured_output->field);
    constraint->grammar = std::move(*grammar);
  }
  if (params.thinking) {
    if (params.thinking->end.empty())
      return invalid_argument("thinking needs the text that ends it").with_param("thinking");
    constraint->thinking = params.thinking;
    if (constraint->grammar)
      constraint->straddlers =
          tokens_straddling(tokenizer_, vocab_size_, params.thinking->end.back());
    if (params.thinking->max_tokens) {
      ASSIGN_OR_RETURN(constraint->thinking_end,
                       tokenizer_.encode(params.thinking->end, {.add_special_tokens = false}));
    }
  }
  return MakeMasker([constraint = std::shared_ptr<const AnswerConstraint>(std::move(constraint))] {
    return std::make_unique<AnswerMasker>(constraint);
  });
}

}  // namespace octavo
