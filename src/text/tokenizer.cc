// The tokenizer at work. Encoding: added tokens are cut out first; what lies between is normalised,
// cut at the added tokens that ask for normalised text, cut into words, and the model makes ids of
// each. Decoding: see decoder.h.
#include "text/tokenizer.h"

#include <algorithm>

#include "base/status_macros.h"
#include "base/utf8.h"
#include "text/tokenizer_parts.h"

namespace octavo::text {
namespace {

constexpr size_t kMaxTextBytes = size_t{1} << 30;
constexpr size_t kMaxArenaBytes = size_t{256} << 20;
constexpr std::string_view kMetaspace = "\xE2\x96\x81";

// The parts of `ranges` that lie in `stretch`, counted from its begin.
std::vector<TextRange> within(std::span<const TextRange> ranges, TextRange stretch) {
  std::vector<TextRange> out;
  const auto first = std::partition_point(
      ranges.begin(), ranges.end(), [&](const TextRange& r) { return r.end <= stretch.begin; });
  for (auto it = first; it != ranges.end() && it->begin < stretch.end; ++it) {
    out.push_back({std::max(it->begin, stretch.begin) - stretch.begin,
                   std::min(it->end, stretch.end) - stretch.begin});
  }
  return out;
}

class WordTokenizer final : public Tokenizer {
 public:
  explicit WordTokenizer(TokenizerParts parts) : p_(std::move(parts)) {}

  StatusOr<std::vector<TokenId>> encode(std::string_view text,
                                        EncodeOptions options) const override;
  std::string decode(std::span<const TokenId> ids, bool skip_special_tokens) const override;

  std::string_view token_bytes(TokenId id) const override { return p_.table.bytes(id); }
  std::string token_string(TokenId id) const override { return std::string(p_.table.string(id)); }
  TokenId token_id(std::string_view token_string) const override;
  bool is_special(TokenId id) const override { return p_.table.special(id); }
  int vocab_size() const override { return p_.table.size(); }
  const TextJoin& text_join() const override { return p_.decoder.text_join(); }

 private:
  // Working memory of one encode call.
  struct Call {
    AddedTokens::Reading reading;
    std::vector<TokenId> out;
    WordModel::Scratch scratch;
    Pretokenizer::Pieces pieces;
    std::string normalized;
    std::vector<AddedTokens::Segment> segments;
  };
  Status encode_stretch(std::string_view text, TextRange stretch, Call& call) const;
  Status encode_normalized(std::string_view text, bool at_start, Call& call) const;
  Status encode_word(std::string_view word, Call& call) const;
  Status encode_piece(std::string_view piece, Call& call) const;

  TokenizerParts p_;
};

StatusOr<std::vector<TokenId>> WordTokenizer::encode(std::string_view text,
                                                     EncodeOptions options) const {
  if (text.size() > kMaxTextBytes)
    return Status(StatusCode::kTooLarge, "text is longer than 1 GiB");
  if (!valid_utf8(text)) return invalid_argument("text is not valid UTF-8");
  Call call{{options.parse_special_tokens, options.plain}, {}, {}, {}, {}, {}};
  call.out.reserve(text.size() / 4 + 8);
  if (options.add_special_tokens) call.out = p_.prefix;
  std::vector<AddedTokens::Segment> segments;
  p_.added.split(text, call.reading, segments);
  for (const auto& segment : segments) {
    if (segment.id >= 0) {
      call.out.push_back(segment.id);
    } else {
      RETURN_IF_ERROR(encode_stretch(text, {segment.begin, segment.end}, call));
    }
  }
  if (options.add_special_tokens)
    call.out.insert(call.out.end(), p_.suffix.begin(), p_.suffix.end());
  return std::move(call.out);
}

Status WordTokenizer::encode_stretch(std::string_view text, TextRange stretch, Call& call) const {
  const std::string_view raw = text.substr(stretch.begin, stretch.end - stretch.begin);
  const bool at_start = stretch.begin == 0;
  ASSIGN_OR_RETURN(const std::string_view normalized,
                   p_.normalizer.apply(raw, call.normalized, at_start));
  if (p_.added_normalized.empty()) return encode_normalized(normalized, at_start, call);
  AddedTokens::Reading reading = call.reading;
  std::vector<TextRange> plain;
  if (p_.added_normalized.any_special() && !reading.plain.empty()) {
    ASSIGN_OR_RETURN(plain, p_.normalizer.map(raw, normalized, within(reading.plain, stretch)));
    reading.plain = plain;
  }
  p_.added_normalized.split(normalized, reading, call.segments);
  for (const auto& segment : call.segments) {
    if (segment.id >= 0) {
      call.out.push_back(segment.id);
    } else {
      const auto stretch = normalized.substr(segment.begin, segment.end - segment.begin);
      RETURN_IF_ERROR(encode_normalized(stretch, at_start && segment.begin == 0, call));
    }
  }
  return ok_status();
}

Status WordTokenizer::encode_normalized(std::string_view text, bool at_start, Call& call) const {
  if (const auto& scanner = p_.pretokenizer.sole_pattern()) {
    for (size_t pos = 0; pos < text.size();) {
      const size_t end = scanner->next(text, pos);
      RETURN_IF_ERROR(encode_piece(text.substr(pos, end - pos), call));
      pos = end;
    }
    return ok_status();
  }
  RETURN_IF_ERROR(p_.pretokenizer.split(text, at_start, call.pieces));
  for (const auto& piece : call.pieces.list) RETURN_IF_ERROR(encode_word(piece.text, call));
  return ok_status();
}

Status WordTokenizer::encode_piece(std::string_view piece, Call& call) const {
  if (p_.model->encode(piece, call.scratch, call.out)) return ok_status();
  return invalid_argument("text needs the unknown token, which the tokenizer lacks");
}

Status WordTokenizer::encode_word(std::string_view word, Call& call) const {
  size_t begin = 0;
  while (p_.cut_at_metaspace) {
    size_t at = begin;  // over the marks in front, then to the next one
    while (word.substr(at).starts_with(kMetaspace)) at += kMetaspace.size();
    at = word.find(kMetaspace, at);
    if (at == std::string_view::npos) break;
    RETURN_IF_ERROR(encode_piece(word.substr(begin, at - begin), call));
    begin = at;
  }
  return encode_piece(word.substr(begin), call);
}

std::string WordTokenizer::decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  const auto skipped = [&](TokenId id) {
    return !p_.table.known(id) || (skip_special_tokens && p_.table.special(id));
  };
  if (p_.decoder.byte_level()) {
    std::string bytes;
    for (const TokenId id : ids) {
      if (!skipped(id)) bytes += p_.table.bytes(id);
    }
    return valid_utf8(bytes) ? bytes : replace_invalid_utf8(bytes);
  }
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const TokenId id : ids) {
    if (!skipped(id)) tokens.emplace_back(p_.table.string(id));
  }
  return p_.decoder.decode(std::move(tokens));
}

TokenId WordTokenizer::token_id(std::string_view token_string) const {
  if (!valid_utf8(token_string)) return -1;
  if (const auto it = p_.outside_model.find(std::string(token_string));
      it != p_.outside_model.end()) {
    return it->second;
  }
  if (!p_.pretokenizer.byte_level()) return p_.model->find(token_string);
  std::string bytes;
  return alphabet_to_bytes(token_string, bytes) ? p_.model->find(bytes) : -1;
}

}  // namespace

bool TokenTable::add(TokenId id, std::string_view string) {
  if (id >= size()) entries_.resize(static_cast<size_t>(id) + 1);
  Entry& entry = entries_[id];
  if (entry.known) return at(entry.string) == string;
  entry.known = true;
  entry.string = {static_cast<uint32_t>(arena_.size()), static_cast<uint32_t>(string.size())};
  arena_.append(string);
  return true;
}

Status TokenTable::set_bytes(const Decoder& decoder) {
  for (Entry& entry : entries_) {
    if (!entry.known) continue;
    const auto offset = static_cast<uint32_t>(arena_.size());
    const std::string bytes = decoder.token_bytes(at(entry.string));
    if (bytes == at(entry.string)) {
      entry.bytes = entry.string;
      continue;
    }
    arena_.append(bytes);
    if (arena_.size() > kMaxArenaBytes)
      return data_loss("the tokens' texts take more than 256 MiB");
    entry.bytes = {offset, static_cast<uint32_t>(bytes.size())};
  }
  return ok_status();
}

std::unique_ptr<Tokenizer> make_tokenizer(TokenizerParts parts) {
  return std::make_unique<WordTokenizer>(std::move(parts));
}

}  // namespace octavo::text
