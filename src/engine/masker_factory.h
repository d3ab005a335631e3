// MaskerFactory: from SamplingParams to the maskers of a request's answers. Any thread.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/token_masker.h"
#include "octavo/sampling_params.h"
#include "octavo/status.h"
#include "text/grammar/grammar_compiler.h"

namespace octavo {

class MaskerFactory {
 public:
  using MakeMasker = std::function<std::unique_ptr<TokenMasker>()>;

  // The tokenizer must outlive this, and every masker.
  MaskerFactory(const text::Tokenizer& tokenizer, int vocab_size, std::vector<TokenId> eos_ids);

  static bool needs_masker(const SamplingParams& params);
  // Blocks while a grammar is compiled, as GrammarCompiler::compile(), with its errors. Null: the
  // parameters constrain nothing.
  StatusOr<MakeMasker> make(const SamplingParams& params);

 private:
  const text::Tokenizer& tokenizer_;
  const int vocab_size_;
  const std::vector<TokenId> eos_ids_;
  text::GrammarCompiler compiler_;
};

}  // namespace octavo
