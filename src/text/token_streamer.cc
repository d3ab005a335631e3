// TokenStreamer: bytes of tokens to whole characters. The output processor keeps one for each
// answer. Bytes are held back only while they may still begin a character, or while they depend on
// whether another token follows; an invalid part becomes one U+FFFD (WHATWG), or one a byte, as
// soon as it is known to be invalid.
#include <algorithm>

#include "base/utf8.h"
#include "text/tokenizer.h"

namespace octavo::text {
namespace {

constexpr std::string_view kReplacementChar = "\xEF\xBF\xBD";

// The first half of a UTF-16 surrogate as three bytes, of which two are there: invalid already, yet
// held until the third comes, as Python's incremental decoder does and clients' goldens have it.
bool surrogate_cut_short(std::string_view bytes) {
  return bytes.size() == 2 && bytes[0] == '\xED' && static_cast<unsigned char>(bytes[1]) >= 0xA0 &&
         static_cast<unsigned char>(bytes[1]) <= 0xBF;
}

}  // namespace

bool TokenStreamer::skips(TokenId id) const {
  return skip_special_ && tokenizer_->is_special(id) &&
         !std::binary_search(shown_.begin(), shown_.end(), id);
}

void TokenStreamer::prime(std::span<const TokenId> prompt_ids) {
  const auto adds_text = [&](TokenId id) {
    return !skips(id) && !tokenizer_->token_bytes(id).empty();
  };
  // The front needs the first token that is text, a character begun at the end at most the last
  // few.
  constexpr size_t kTail = 8;
  const auto first = std::find_if(prompt_ids.begin(), prompt_ids.end(), adds_text);
  const auto tail = prompt_ids.end() - static_cast<ptrdiff_t>(std::min(kTail, prompt_ids.size()));
  if (first < tail) {
    append(*first);
    first_token_ = false;
  }
  for (auto it = std::max(first, tail); it != prompt_ids.end(); ++it) append(*it);
}

// `bytes` less what the front of a text loses.
std::string_view TokenStreamer::at_front(std::string_view bytes) {
  const TextJoin& join = tokenizer_->text_join();
  if (first_token_ && join.drop_spaces_of_first_token) {
    front_.assign(bytes);
    std::erase(front_, ' ');
    bytes = front_;
  }
  first_token_ = false;
  while (stripped_ < join.strip_count && !bytes.empty()) {
    if (bytes.starts_with(join.strip)) {
      bytes.remove_prefix(join.strip.size());
      ++stripped_;
    } else {
      stripped_ = join.strip_count;
    }
  }
  return bytes;
}

std::string TokenStreamer::take_certain() {
  std::string out;
  size_t i = 0;
  while (i < pending_.size() && !surrogate_cut_short(std::string_view(pending_).substr(i))) {
    const Decoded d = decode_utf8(pending_, i);
    if (d.incomplete) break;
    if (d.valid) {
      out.append(pending_, i, d.length);
    } else {
      append_replacements(d.length, out);
    }
    i += d.length;
  }
  pending_.erase(0, i);
  return out;
}

// For an invalid part of that many bytes.
void TokenStreamer::append_replacements(int bytes, std::string& out) const {
  const int count = tokenizer_->text_join().each_invalid_byte ? bytes : 1;
  for (int i = 0; i < count; ++i) out += kReplacementChar;
}

std::string TokenStreamer::append(TokenId id) {
  if (skips(id)) return {};
  const TextJoin& join = tokenizer_->text_join();
  if (join.repeats_vanish && id == previous_) return {};
  previous_ = id;
  if (join.last_token_alone) return append_before_last(id);
  const std::string_view bytes = tokenizer_->token_bytes(id);
  if (first_token_ && join.first_token_alone) {
    // Bytes of a character that several tokens make up are the same alone.
    const std::string alone = tokenizer_->decode({&id, 1}, false);
    const std::string_view text = valid_utf8(bytes) ? std::string_view(alone) : bytes;
    first_token_ = join.first_has_text && text.empty();
    pending_.append(text);
  } else if (first_token_ || stripped_ < join.strip_count) {
    pending_.append(at_front(bytes));
  } else {
    pending_.append(bytes);
  }
  return take_certain();
}

// Of a token that may be the last one, what it reads as in either case is certain; the rest waits.
std::string TokenStreamer::append_before_last(TokenId id) {
  std::string out = std::move(if_followed_);
  const std::string_view followed = tokenizer_->token_bytes(id);
  const std::string last = tokenizer_->decode({&id, 1}, false);
  const size_t certain =
      std::mismatch(followed.begin(), followed.end(), last.begin(), last.end()).first -
      followed.begin();
  out += followed.substr(0, certain);
  if_followed_ = followed.substr(certain);
  if_last_ = last.substr(certain);
  return out;
}

std::string TokenStreamer::flush() {
  std::string out = take_certain();
  if (tokenizer_->text_join().each_invalid_byte) {
    append_replacements(static_cast<int>(pending_.size()), out);
  } else {
    out += replace_invalid_utf8(pending_);
  }
  pending_.clear();
  out += if_last_;
  if_last_.clear();
  if_followed_.clear();
  return out;
}

}  // namespace octavo::text
