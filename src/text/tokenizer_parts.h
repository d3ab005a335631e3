// The parts of a tokenizer, as tokenizer_json.cc reads them from a file and tokenizer.cc puts them
// to work. Private to those two.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "octavo/status.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"
#include "text/word_model.h"

namespace octavo::text {

// What is known of each id. Strings lie in one arena.
class TokenTable {
 public:
  void reserve(size_t ids, size_t bytes) {
    entries_.reserve(ids);
    arena_.reserve(bytes);
  }
  // False if the id has a string already, and another one.
  bool add(TokenId id, std::string_view string);
  void set_special(TokenId id) { entries_[id].special = true; }
  // Computes the bytes of every token. Fails when they grow beyond reason.
  Status set_bytes(const Decoder& decoder);

  int size() const { return static_cast<int>(entries_.size()); }
  bool known(TokenId id) const { return id >= 0 && id < size() && entries_[id].known; }
  bool special(TokenId id) const { return known(id) && entries_[id].special; }
  std::string_view string(TokenId id) const {
    return known(id) ? at(entries_[id].string) : std::string_view();
  }
  std::string_view bytes(TokenId id) const {
    return known(id) ? at(entries_[id].bytes) : std::string_view();
  }

 private:
  struct Span {
    uint32_t offset = 0, length = 0;
  };
  struct Entry {
    Span string, bytes;
    bool known = false, special = false;
  };
  std::string_view at(Span s) const { return std::string_view(arena_).substr(s.offset, s.length); }

  std::vector<Entry> entries_;
  std::string arena_;
};

struct TokenizerParts {
  Normalizer normalizer;
  Pretokenizer pretokenizer;
  std::unique_ptr<const WordModel> model;
  Decoder decoder;
  AddedTokens added;                    // looked for in the text as it comes
  AddedTokens added_normalized;         // … and in the normalised text
  std::vector<TokenId> prefix, suffix;  // what add_special_tokens puts around a text
  TokenTable table;
  std::unordered_map<std::string, TokenId>
      outside_model;  // tokens that the model's index does not hold
  // No token of the vocabulary has "▁" behind another character, so that no merge crosses the front
  // of a "▁".
  bool cut_at_metaspace = false;
};

std::unique_ptr<Tokenizer> make_tokenizer(TokenizerParts parts);

}  // namespace octavo::text
