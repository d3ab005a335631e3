// A trie over the tokens' bytes, entered only at bytes with which some token begins: the scan
// between two tokens is a memchr for the usual case that all of them begin with '<'.
#include "text/added_tokens.h"

#include <algorithm>
#include <cstring>

#include "text/unicode.h"

namespace octavo::text {
namespace {

bool class_before(std::string_view text, size_t pos, uint8_t mask) {
  if (pos == 0) return false;
  int length = 0;
  return CharTable::get().is(decode_valid(text.data() + previous_char(text, pos), length), mask);
}

bool class_after(std::string_view text, size_t pos, uint8_t mask, int& length) {
  return pos < text.size() && CharTable::get().is(decode_valid(text.data() + pos, length), mask);
}

}  // namespace

void AddedTokens::add(const AddedToken& token, std::string_view pattern) {
  if (pattern.empty()) return;
  int32_t node = 0;
  for (const char c : pattern) {
    const auto byte = static_cast<uint8_t>(c);
    int32_t next = child(node, byte);
    if (next < 0) {
      next = static_cast<int32_t>(nodes_.size());
      nodes_.push_back({-1, nodes_[node].first_child, -1, byte});
      nodes_[node].first_child = next;
    }
    node = next;
  }
  if (nodes_[node].token >= 0) return;  // the first of two that read the same
  nodes_[node].token = static_cast<int32_t>(tokens_.size());
  any_special_ = any_special_ || token.special;
  tokens_.push_back({token.id, token.single_word, token.lstrip, token.rstrip, token.special});
  const auto start = static_cast<uint8_t>(pattern.front());
  if (!starts_[start]) ++distinct_starts_;
  starts_[start] = true;
  only_start_ = start;
}

int32_t AddedTokens::child(int32_t node, uint8_t byte) const {
  int32_t next = nodes_[node].first_child;
  while (next >= 0 && nodes_[next].byte != byte) next = nodes_[next].next_sibling;
  return next;
}

size_t AddedTokens::next_candidate(std::string_view text, size_t pos) const {
  if (distinct_starts_ == 1) {
    const void* found = std::memchr(text.data() + pos, only_start_, text.size() - pos);
    return found == nullptr ? text.size()
                            : static_cast<size_t>(static_cast<const char*>(found) - text.data());
  }
  while (pos < text.size() && !starts_[static_cast<unsigned char>(text[pos])]) ++pos;
  return pos;
}

int32_t AddedTokens::longest_match(std::string_view text, size_t pos, size_t special_end,
                                   size_t& end) const {
  int32_t found = -1;
  int32_t node = 0;
  for (size_t i = pos; i < text.size(); ++i) {
    node = child(node, static_cast<uint8_t>(text[i]));
    if (node < 0) break;
    const int32_t token = nodes_[node].token;
    if (token >= 0 && (i < special_end || !tokens_[token].special)) {
      found = token;
      end = i + 1;
    }
  }
  return found;
}

void AddedTokens::split(std::string_view text, const Reading& reading,
                        std::vector<Segment>& segments) const {
  segments.clear();
  size_t done = 0;
  auto plain = reading.plain.begin();
  for (size_t pos = 0; !tokens_.empty() && pos < text.size();) {
    size_t begin = next_candidate(text, pos);
    if (begin == text.size()) break;
    while (plain != reading.plain.end() && plain->end <= begin) ++plain;
    const bool in_plain = plain != reading.plain.end() && plain->begin <= begin;
    // A token that begins in front of a plain range must end there. One that begins within a range
    // hides the tokens inside it as if it counted, but none behind the range.
    const size_t special_end =
        in_plain || plain == reading.plain.end() ? text.size() : plain->begin;
    size_t end = 0;
    const int32_t found = longest_match(text, begin, special_end, end);
    if (found < 0) {
      pos = begin + 1;
      continue;
    }
    const Token& token = tokens_[found];
    const bool passed_over = token.special && (in_plain || !reading.parse_special);
    pos = passed_over && in_plain ? std::min(end, plain->end) : end;
    int length = 0;
    if (begin < done || passed_over) continue;
    if (token.single_word &&
        (class_before(text, begin, kWord) || class_after(text, end, kWord, length))) {
      continue;
    }
    if (token.lstrip) {
      while (begin > done && class_before(text, begin, kSpace)) begin = previous_char(text, begin);
    }
    if (token.rstrip) {
      while (class_after(text, end, kSpace, length)) end += length;
    }
    if (begin > done) segments.push_back({done, begin, -1});
    segments.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) segments.push_back({done, text.size(), -1});
}

}  // namespace octavo::text
