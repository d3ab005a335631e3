// WordModel: one word of pre-cut text to ids. The four models of tokenizer.json (BPE, Unigram,
// WordPiece, WordLevel) implement it; the tokenizer calls it for each piece of text. Immutable
// after build; any thread, each call with its own scratch.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/sampling_params.h"

namespace octavo::text {

class WordModel {
 public:
  // Working memory of one encode call.
  struct Scratch {
    std::vector<TokenId> ids;
    std::vector<uint32_t> ranks;
    std::vector<uint32_t> prev, next;
    std::vector<uint64_t> heap;
    std::vector<double> scores;
    std::string key;
  };
  virtual ~WordModel() = default;

  // Appends the ids of one word. False where the word needs the unknown token and the model has
  // none. REQUIRES: valid UTF-8; fewer than 2^31 bytes.
  virtual bool encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const = 0;
  virtual TokenId find(std::string_view key) const = 0;  // -1: none
};

}  // namespace octavo::text
