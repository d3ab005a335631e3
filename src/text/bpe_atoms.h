// Atoms: characters that byte-level BPE may take as one symbol, where they stand between others
// that are not ASCII, instead of as their two or three bytes. Found once, while a tokenizer is
// loaded.
//
// A character c whose bytes merge into one token by themselves, the last of these merges at rank R,
// is an atom if
//   1. every other merge that could take a part of c while it is being put together (its front part
//      onto something that ends in a continuation byte, or its back part onto something that begins
//      with a lead byte) has a rank above R;
//   2. every merge of something that ends or begins with all of c has a rank above R too.
// By 1, c is whole before any merge reaches over its edge, for merges happen in the order of their
// ranks. By 2, that c is whole earlier than it would be makes no merge possible that is due before
// those that would have come first. So the merges that follow are the same.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "octavo/sampling_params.h"
#include "text/merge_table.h"

namespace octavo::text {

// Tokens by character, 65,536 of them; -1: no atom. `byte_id`: the tokens of the 256 bytes, -1
// where there is none. `names`: the merges' left and right sides, as bytes.
std::vector<TokenId> find_atoms(
    const MergeTable& merges,
    const std::vector<std::pair<std::string_view, std::string_view>>& names,
    const TokenIndex& index, const TokenId* byte_id);

// The character that `bytes` begins or ends with, if it is one of two or three bytes and all there;
// 0: none.
char32_t first_char(std::string_view bytes);
char32_t last_char(std::string_view bytes);

}  // namespace octavo::text
