#include "text/sentencepiece_normalizer.h"

#include <algorithm>

#include "text/unicode.h"

namespace octavo::text {
namespace {

constexpr std::string_view kMark = "\xE2\x96\x81";
constexpr size_t kMaxGrowth = 32, kMaxGrowthBytes = 4096;

}  // namespace

SentencePieceNormalizer::Prefix SentencePieceNormalizer::next(std::string_view text) const {
  if (const auto symbol = user_defined.longest(text); symbol.bytes > 0)
    return {text.substr(0, symbol.bytes), symbol.bytes};
  if (charsmap) {
    if (const auto found = charsmap->longest(text)) return {found->replacement, found->bytes};
  }
  int length = 0;
  decode_valid(text.data(), length);
  return {text.substr(0, length), static_cast<size_t>(length)};
}

void SentencePieceNormalizer::append(std::string_view part, std::string& out) const {
  for (const char c : part) {
    if (c == ' ' && escape_whitespaces) {
      out += kMark;
    } else {
      out.push_back(c);
    }
  }
}

StatusOr<std::string> SentencePieceNormalizer::apply(std::string_view text, bool at_start) const {
  while (remove_extra_whitespaces && !text.empty()) {
    const Prefix front = next(text);
    if (front.reads != " ") break;
    text.remove_prefix(front.bytes);
  }
  std::string out;
  if (text.empty()) return out;
  out.reserve(text.size() * 5 / 4 + kMark.size());
  const size_t limit = text.size() * kMaxGrowth + kMaxGrowthBytes;
  const std::string_view space = escape_whitespaces ? kMark : " ";
  const bool dummy = add_dummy_prefix && (at_start || !dummy_only_at_start);
  if (dummy && !whitespace_as_suffix) out += space;
  bool after_space = remove_extra_whitespaces;
  while (!text.empty()) {
    auto [reads, bytes] = next(text);
    text.remove_prefix(bytes);
    if (after_space) reads.remove_prefix(std::min(reads.find_first_not_of(' '), reads.size()));
    if (reads.empty()) continue;
    append(reads, out);
    if (out.size() > limit)
      return resource_exhausted("the tokenizer's charsmap makes the text too long");
    after_space = remove_extra_whitespaces && reads.ends_with(' ');
  }
  while (remove_extra_whitespaces && out.ends_with(space)) out.resize(out.size() - space.size());
  if (dummy && whitespace_as_suffix) out += space;
  return out;
}

}  // namespace octavo::text
