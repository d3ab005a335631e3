// CompiledGrammar: what an answer may look like, over the tokens of one vocabulary; immutable, any
// thread. GrammarMatcher: how far one answer has come in it. Both stand before xgrammar, so that
// nothing else sees its headers or its exceptions.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "octavo/sampling_params.h"

namespace octavo::text {

class CompiledGrammar {
 public:
  struct Impl;
  explicit CompiledGrammar(std::unique_ptr<const Impl> impl);
  ~CompiledGrammar();

  const Impl& impl() const { return *impl_; }
  // Memory held, roughly.
  int64_t bytes() const;

 private:
  std::unique_ptr<const Impl> impl_;
};

// One thread at a time. A grammar can be so ambiguous that following it takes for ever: every call
// is bounded in memory, and all of one matcher's together in time.
class GrammarMatcher {
 public:
  explicit GrammarMatcher(std::shared_ptr<const CompiledGrammar> grammar);
  ~GrammarMatcher();

  // Goes on by a token. False, with nothing changed: the grammar has no such continuation, or
  // failed() has become true.
  bool accept(TokenId token);
  // Goes on by text that no token of its own has brought. As accept().
  bool accept_text(std::string_view text);
  // Sets bit i of mask[i / 32] for every token i that may come next, clears the others. The model's
  // end-of-sequence tokens are set where the answer may end. REQUIRES: room for the vocabulary.
  void fill(std::span<uint32_t> mask);
  // The answer may end here.
  bool may_end() const;
  // An end-of-sequence token was accepted; nothing may follow.
  bool ended() const;
  // Following the grammar takes too much time or memory; from here on nothing is accepted.
  bool failed() const { return failed_; }

 private:
  struct Impl;
  template <typename F>
  bool bounded(F&& work);

  std::shared_ptr<const CompiledGrammar> grammar_;
  std::unique_ptr<Impl> impl_;
  double seconds_left_;
  bool failed_ = false;
};

}  // namespace octavo::text
