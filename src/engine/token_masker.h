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
  // A token was drawn and belongs to the sequence.
  virtual void accept(TokenId token) = 0;
  // Sets bit i of mask[i / 32] for every token i that may come next; all bits are 0 on entry.
  virtual void fill(std::span<uint32_t> mask) = 0;
};

}  // namespace octavo
