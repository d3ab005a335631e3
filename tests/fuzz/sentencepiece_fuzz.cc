// libFuzzer target for tokenizer.model. The input is a text, a zero byte, and a SentencePiece model
// to load and to use on it (seeds: the small models of tests/data/tokenizers). Nothing may crash,
// and what must agree has to. One thread.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.h"
#include "fuzzing.h"
#include "text/tokenizer_sentencepiece.h"

namespace octavo::text {
namespace {

void use(const Tokenizer& tokenizer, std::string_view text) {
  for (const bool parse_special : {true, false}) {
    const auto ids = tokenizer.encode(text, {.parse_special_tokens = parse_special});
    if (!ids.ok()) continue;
    TokenStreamer streamer(tokenizer, false);
    std::string streamed;
    for (const TokenId id : *ids) {
      require(id >= 0 && id < tokenizer.vocab_size());
      streamed += streamer.append(id);
    }
    const std::string decoded = tokenizer.decode(*ids, false);
    require(valid_utf8(decoded));
    require(streamed + streamer.flush() == decoded);
  }
}

}  // namespace
}  // namespace octavo::text

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  if (zero == std::string_view::npos) return 0;
  const auto tokenizer = octavo::text::parse_sentencepiece(input.substr(zero + 1), {});
  if (!tokenizer.ok()) return 0;
  octavo::text::use(**tokenizer, input.substr(0, zero));
  octavo::text::use(
      **tokenizer, "Hello, \xE4\xB8\x96\xE7\x95\x8C!  </s>fo \xEF\xBD\xB6\xEF\xBE\x9E e\xCC\x81\n");
  return 0;
}
