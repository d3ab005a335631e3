#include "text/wordpiece.h"

#include <algorithm>

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

WordPiece::WordPiece(Config config, TokenIndex index, PieceTrie pieces)
    : config_(std::move(config)),
      index_(std::move(index)),
      pieces_(std::move(pieces)),
      continuing_(pieces_.walk(config_.continuing_prefix)) {}

bool WordPiece::encode(std::string_view word, Scratch&, std::vector<TokenId>& out) const {
  if (count_chars(word) > config_.max_chars) return append_unknown(config_.unk_id, out);
  const size_t before = out.size();
  for (size_t begin = 0; begin < word.size();) {
    const int32_t from = begin == 0 ? PieceTrie::kRoot : continuing_;
    const auto piece = from < 0 ? PieceTrie::Match() : pieces_.longest(word.substr(begin), from);
    if (piece.bytes == 0) {
      out.resize(before);
      return append_unknown(config_.unk_id, out);
    }
    out.push_back(piece.id);
    begin += piece.bytes;
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
