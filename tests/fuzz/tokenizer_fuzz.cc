// libFuzzer target for the tokenizer. The first byte chooses: the rest is a tokenizer.json to load
// and to use (seeds: models/octavo-tiny/tokenizer.json cut small), text to encode with a small
// byte-level tokenizer, or ids to decode both at once and as a stream. Nothing may crash, and what
// must agree has to. One thread.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.h"
#include "fuzzing.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace octavo::text {
namespace {

// All 256 bytes, a few merges, a special token and the pattern of Qwen 2.
std::string small_tokenizer_json() {
  std::string vocab;
  for (int b = 0; b < 256; ++b) {
    const char byte = static_cast<char>(b);
    std::string token = bytes_to_alphabet({&byte, 1});
    if (token == "\"" || token == "\\") token.insert(0, "\\");
    vocab += "\"" + token + "\":" + std::to_string(b) + ",";
  }
  return R"({"added_tokens":[{"id":300,"content":"<|end|>","special":true,"normalized":false}],
      "normalizer":{"type":"NFC"},"decoder":{"type":"ByteLevel"},
      "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","behavior":"Isolated","invert":false,
      "pattern":{"Regex":"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
      {"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]},
      "model":{"type":"BPE","vocab":{)" +
         vocab +
         R"("ab":256,"aba":257,"aa":258,"aaaa":259,"ĠĠ":260},"merges":["a b","ab a","a a","aa aa","Ġ Ġ"]}})";
}

const Tokenizer& small_tokenizer() {
  static const auto tokenizer = parse_tokenizer_json(small_tokenizer_json());
  require(tokenizer.ok());
  return **tokenizer;
}

void load_and_use(std::string_view json) {
  const auto tokenizer = parse_tokenizer_json(json);
  if (!tokenizer.ok()) return;
  const auto ids = (*tokenizer)->encode("Hello, 世界! <|end|> 12\n\n  e\xCC\x81", {});
  if (!ids.ok()) return;
  for (const TokenId id : *ids) require(id >= 0 && id < (*tokenizer)->vocab_size());
  require(valid_utf8((*tokenizer)->decode(*ids, false)));
}

void encode_text(std::string_view text) {
  const auto ids = small_tokenizer().encode(text, {.add_special_tokens = false});
  require(ids.ok() == valid_utf8(text));
  if (!ids.ok()) return;
  require(small_tokenizer().decode(*ids, false) == normalize(text, NormalForm::kNfc));
  const TextRange everything[] = {{0, text.size()}};
  const auto marked =
      small_tokenizer().encode(text, {.add_special_tokens = false, .plain = everything});
  const auto plain =
      small_tokenizer().encode(text, {.add_special_tokens = false, .parse_special_tokens = false});
  require(marked.ok() && plain.ok() && *marked == *plain);
}

void decode_ids(std::string_view bytes) {
  std::vector<TokenId> ids;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    ids.push_back(
        (static_cast<unsigned char>(bytes[i]) | (static_cast<unsigned char>(bytes[i + 1]) << 8)) %
            310 -
        2);
  }
  TokenStreamer streamer(small_tokenizer(), true);
  std::string streamed;
  for (const TokenId id : ids) {
    const std::string piece = streamer.append(id);
    require(valid_utf8(piece));
    streamed += piece;
  }
  require(streamed + streamer.flush() == small_tokenizer().decode(ids, true));
}

}  // namespace
}  // namespace octavo::text

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octavo::text;
  octavo::run_one_of(data, size, {load_and_use, encode_text, decode_ids});
  return 0;
}
