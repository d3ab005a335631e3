// AddedTokens: finds the tokens that stand outside the model's merges (<|im_end|>, <think>, …) in a
// text. Called by the tokenizer before anything else looks at the text, and again after normalising
// it for tokens that ask for that. Immutable after build; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/sampling_params.h"
#include "octavo/text.h"

namespace octavo::text {

struct AddedToken {
  TokenId id = -1;
  std::string content;       // as the file writes it
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // … and behind it
  bool normalized = true;    // looked for in the normalised text
  bool special = false;      // control token: left out by skip_special_tokens
};

class AddedTokens {
 public:
  struct Segment {
    size_t begin, end;
    TokenId id;  // -1: ordinary text
  };

  // Adds `token`, to be found where the text reads `pattern` (its content, normalised or not).
  void add(const AddedToken& token, std::string_view pattern);
  bool empty() const { return tokens_.empty(); }

  // Which special tokens count: none, or those that touch no range of `plain` (ascending,
  // disjoint).
  struct Reading {
    bool parse_special = true;
    std::span<const TextRange> plain = {};
  };

  // Cuts `text` at the tokens in it: leftmost first, of those the longest. A special token that
  // does not count is passed over as text. REQUIRES: valid UTF-8.
  void split(std::string_view text, const Reading& reading, std::vector<Segment>& segments) const;
  bool any_special() const { return any_special_; }

 private:
  struct Token {
    TokenId id;
    bool single_word, lstrip, rstrip, special;
  };
  // A node of the trie; children are a list, in the order they were added.
  struct Node {
    int32_t first_child = -1, next_sibling = -1;
    int32_t token = -1;
    uint8_t byte = 0;
  };
  int32_t child(int32_t node, uint8_t byte) const;
  size_t next_candidate(std::string_view text, size_t pos) const;
  // `special_end`: special tokens that end behind it do not count.
  int32_t longest_match(std::string_view text, size_t pos, size_t special_end, size_t& end) const;

  std::vector<Token> tokens_;
  std::vector<Node> nodes_ = std::vector<Node>(1);
  bool any_special_ = false;
  bool starts_[256] = {};  // bytes with which some token begins
  int distinct_starts_ = 0;
  uint8_t only_start_ = 0;
};

}  // namespace octavo::text
