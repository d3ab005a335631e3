// libFuzzer target for tiktoken files and what stands beside them. The first byte chooses: the rest
// is lines of ranks, put behind those of the 256 bytes so that most inputs load; a
// special_tokens.json; or vocab.json and merges.txt with a zero byte between. Nothing may crash,
// and what must agree has to. One thread.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "fuzzing.h"
#include "text/tokenizer_tiktoken.h"
#include "text/tokenizer_vocabulary.h"

namespace octavo::text {
namespace {

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
  using namespace octavo::text;
  octavo::run_one_of(data, size, {read_ranks, read_form, read_vocabulary});
  return 0;
}
