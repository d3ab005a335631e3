// TokenStreamer: bytes of tokens to whole characters. The output processor keeps one for each
// answer. Bytes are held back only while they may still begin a character; an invalid part becomes
// one U+FFFD (WHATWG) as soon as it is known to be invalid.
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

void TokenStreamer::prime(std::span<const TokenId> prompt_ids) {
  const auto adds_text = [&](TokenId id) {
    return !(skip_special_ && tokenizer_->is_special(id)) && !tokenizer_->token_bytes(id).empty();
  };
  // The front needs the first token that is text, a character begun at the end at most the last
  // few.
  constexpr size_t kTail = 8;
  const auto first = std::find_if(prompt_ids.begin(), prompt_ids.end(), adds_text);
  const auto tail = prompt_ids.end() - static_cast<ptrdiff_t>(std::min(kTail, prompt_ids.size()));
  if (first < tail) append(*first);
  for (auto it = std::max(first, tail); it != prompt_ids.end(); ++it) append(*it);
}

// `bytes` less what the front of a text loses.
std::string_view TokenStreamer::at_front(std::string_view bytes) {
  const TextStart& start = tokenizer_->text_start();
  if (first_token_ && start.drop_spaces_of_first_token) {
    front_.assign(bytes);
    std::erase(front_, ' ');
    bytes = front_;
  }
  first_token_ = false;
  while (stripped_ < start.strip_count && !bytes.empty()) {
    if (bytes.starts_with(start.strip)) {
      bytes.remove_prefix(start.strip.size());
      ++stripped_;
    } else {
      stripped_ = start.strip_count;
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
    out.append(d.valid ? std::string_view(pending_).substr(i, d.length) : kReplacementChar);
    i += d.length;
  }
  pending_.erase(0, i);
  return out;
}

std::string TokenStreamer::append(TokenId id) {
  if (skip_special_ && tokenizer_->is_special(id)) return {};
  const std::string_view bytes = tokenizer_->token_bytes(id);
  const TextStart& start = tokenizer_->text_start();
  if (first_token_ && start.first_token_alone) {
    first_token_ = false;
    pending_.append(tokenizer_->decode({&id, 1}, false));
    return take_certain();
  }
  if (first_token_ || stripped_ < start.strip_count) {
    pending_.append(at_front(bytes));
  } else {
    pending_.append(bytes);
  }
  return take_certain();
}

std::string TokenStreamer::flush() {
  std::string out = replace_invalid_utf8(pending_);
  pending_.clear();
  return out;
}

}  // namespace octavo::text
