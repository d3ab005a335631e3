// TiktokenForm: what a tiktoken file leaves open (the pattern that cuts text into words, the
// special tokens), and what it is for the files that are in the world. Used by
// tokenizer_tiktoken.cc. Functions without state; any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/sampling_params.h"

namespace octavo::text {

struct TiktokenForm {
  std::string pattern;
  std::string normalizer;  // "NFC"; empty: none
  struct Special {
    std::string name;
    TokenId id;
  };
  std::vector<Special> specials;
  std::vector<std::string>
      before;  // tokens that stand in front of every text, if there are any such
  // Ids from the first behind the ranks on, so many, that are "<|reserved_token_ID|>" unless
  // something else names them.
  int reserved = 0;
};

// By what the file is called ("o200k_base.tiktoken"), by the model's tokenizer_class, or by its
// number of ranks; none where that says nothing.
std::optional<TiktokenForm> find_tiktoken_form(std::string_view file_name,
                                               std::string_view tokenizer_class, size_t ranks);

}  // namespace octavo::text
