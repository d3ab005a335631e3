// TokenMasker: a constraint on one sequence's next token that the host computes from the tokens
// before it (a grammar). The engine asks for the mask of token n+1 after token n is known, while
// the device already computes the forward pass of n+1. Engine thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "octavo/sampling_params.h"

namespace octavo {

class TokenMasker {
 public:
  virtual ~TokenMasker() = default;
  // A token was drawn and belongs to the sequence. REQUIRES: ended() is false, status() is ok.
  virtual void accept(TokenId token) = 0;
  // Nothing can follow what was accepted: the answer is complete.
  virtual bool ended() const { return false; }
  // Failed: the constraint can be followed no further, and the answer ends with this error.
  virtual Status status() const { return ok_status(); }
  // Sets bit i of mask[i / 32] for every token i that may come next; all bits are 0 on entry.
  virtual void fill(std::span<uint32_t> mask) = 0;
};

}  // namespace octavo
