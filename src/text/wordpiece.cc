#include "text/wordpiece.h"

#include <algorithm>

#include "text/unicode.h"

namespace octavo::text {
namespace {

bool append_unknown(TokenId unk_id, std::vector<TokenId>& out) {
  if (unk_id < 0) return false;
  out.push_back(unk_id);
  return true;
}

size_t count_chars(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

}  // namespace

bool WordPiece::encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const {
  if (count_chars(word) > config_.max_chars) return append_unknown(config_.unk_id, out);
  const size_t before = out.size();
  for (size_t begin = 0; begin < word.size();) {
    std::string& key = scratch.key;
    key.assign(begin == 0 ? "" : config_.continuing_prefix);
    const size_t prefix = key.size();
    // No key is longer than the longest, so the search need not begin beyond it.
    size_t end = word.size();
    if (const size_t room = config_.longest_key - std::min(config_.longest_key, prefix);
        end - begin > room) {
      end = begin + room;
      while (end > begin && (static_cast<unsigned char>(word[end]) & 0xC0) == 0x80) --end;
    }
    key.append(word.substr(begin, end - begin));
    TokenId id = -1;
    while (end > begin && (id = index_.find(key)) < 0) {
      end = previous_char(word, end);
      key.resize(prefix + end - begin);
    }
    if (id < 0) {
      out.resize(before);
      return append_unknown(config_.unk_id, out);
    }
    out.push_back(id);
    begin = end;
  }
  return true;
}

bool WordLevel::encode(std::string_view word, Scratch&, std::vector<TokenId>& out) const {
  const TokenId id = index_.find(word);
  if (id < 0) return append_unknown(unk_id_, out);
  out.push_back(id);
  return true;
}

}  // namespace octavo::text
