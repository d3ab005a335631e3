// libFuzzer target for tiktoken files and what stands beside them. The first byte chooses: the rest
// is lines of ranks, put behind those of the 256 bytes so that most inputs load; a
// special_tokens.json; or vocab.json and merges.txt with a zero byte between. Nothing may crash,
// and what must agree has to. One thread.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "text/tokenizer_tiktoken.h"
#include "text/tokenizer_vocabulary.h"

namespace octavo::text {
namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

std::string base64_of_byte(int byte) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  return {kDigits[byte >> 2], kDigits[(byte & 3) << 4], '=', '='};
}

const std::string& ranks_of_bytes() {
  static const std::string ranks = [] {
    std::string lines;
    for (int b = 0; b < 256; ++b) lines += base64_of_byte(b) + " " + std::to_string(b) + "\n";
    return lines;
  }();
  return ranks;
}

// `lossless`: the vocabulary holds every byte.
void use(const Tokenizer& tokenizer, bool lossless) {
  const std::string_view text =
      "Hello, \xE4\xB8\x96\xE7\x95\x8C! <|end|> aaaa abab 12\n\n  e\xCC\x81";
  const auto ids = tokenizer.encode(text, {.add_special_tokens = false});
  if (!ids.ok()) return;
  for (const TokenId id : *ids) require(id >= 0 && id < tokenizer.vocab_size());
  const std::string decoded = tokenizer.decode(*ids, false);
  require(valid_utf8(decoded));
  require(!lossless || decoded == text);
}

void read_ranks(std::string_view lines) {
  TiktokenForm form = find_tiktoken_form("cl100k_base.tiktoken", "", 0).value();
  form.specials = {{"<|end|>", 1 << 16}};
  const auto tokenizer = parse_tiktoken(ranks_of_bytes() + std::string(lines), form);
  if (tokenizer.ok()) use(**tokenizer, true);
}

void read_form(std::string_view json) {
  const auto form = parse_tiktoken_form(json);
  if (!form.ok()) return;
  const auto tokenizer = parse_tiktoken(ranks_of_bytes(), *form);
  if (tokenizer.ok()) use(**tokenizer, false);
}

void read_vocabulary(std::string_view files) {
  const size_t zero = files.find('\0');
  if (zero == std::string_view::npos) return;
  const auto tokenizer = parse_vocab_json(files.substr(0, zero), files.substr(zero + 1), {});
  if (tokenizer.ok()) use(**tokenizer, false);
}

}  // namespace
}  // namespace octavo::text

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      octavo::text::read_ranks(rest);
      break;
    case 1:
      octavo::text::read_form(rest);
      break;
    default:
      octavo::text::read_vocabulary(rest);
      break;
  }
  return 0;
}
