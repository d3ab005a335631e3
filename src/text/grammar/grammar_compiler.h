// GrammarCompiler: from what a user asks of an answer to a CompiledGrammar. What comes from users
// may be hostile: it is bounded in size, compiled on threads of this object's own with a limit on
// memory and CPU time, and refused where a constraint would not be enforced. Grammars in use or
// used lately are kept. Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "octavo/sampling_params.h"
#include "octavo/status.h"
#include "text/grammar/grammar.h"
#include "text/tokenizer.h"

namespace octavo::text {

class GrammarCompiler {
 public:
  struct Limits {
    size_t source_bytes = size_t{256} << 10;   // of what the user sends
    double cpu_seconds = 10;                   // for one grammar
    int64_t memory_bytes = int64_t{1} << 30;   // while it is compiled
    int64_t cache_bytes = int64_t{256} << 20;  // of the grammars kept
    int threads = 2;
  };

  // `vocab_size` is the model's, which may exceed the tokenizer's; `eos_ids` end an answer. The
  // tokenizer must outlive this. No thread is started and no vocabulary read before the first use.
  GrammarCompiler(const Tokenizer& tokenizer, int vocab_size, std::vector<TokenId> eos_ids,
                  const Limits& limits);
  GrammarCompiler(const Tokenizer& tokenizer, int vocab_size, std::vector<TokenId> eos_ids)
      : GrammarCompiler(tokenizer, vocab_size, std::move(eos_ids), Limits()) {}
  ~GrammarCompiler();  // waits for what is being compiled

  // Blocks until the grammar is there: microseconds when it is kept, else milliseconds to seconds.
  // Errors: kInvalidArgument that names what is malformed, what would not be enforced, or the limit
  // that was reached; kFailedPrecondition for a model without a tokenizer; kResourceExhausted where
  // no memory or no thread is to be had.
  StatusOr<std::shared_ptr<const CompiledGrammar>> compile(const StructuredOutput& output);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace octavo::text
