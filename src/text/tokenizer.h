// Tokenizer: text to token ids and back, as the model's tokenizer.json says. Immutable after load;
// any thread.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/status.h"
#include "octavo/text.h"

namespace octavo::text {

// What decoding does at the front of a text. SentencePiece-style vocabularies mark the space before
// a word, and the one before the first word is not written.
struct TextStart {
  std::string strip;  // dropped from the front of the text, up to strip_count times
  int strip_count = 0;
  bool drop_spaces_of_first_token = false;
  bool first_token_alone = false;  // the first token reads as it does decoded alone
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual StatusOr<std::vector<TokenId>> encode(std::string_view text,
                                                EncodeOptions options) const = 0;
  // Whole decoding of a list of ids; bytes that form no character become U+FFFD.
  virtual std::string decode(std::span<const TokenId> ids, bool skip_special_tokens) const = 0;
  // The raw bytes that `id` adds to a text, not necessarily whole characters; empty for ids without
  // an entry.
  virtual std::string_view token_bytes(TokenId id) const = 0;
  virtual std::string token_string(TokenId id) const = 0;  // as written in the vocabulary
  virtual TokenId token_id(std::string_view token_string) const = 0;  // -1: none
  virtual bool is_special(TokenId id) const = 0;
  virtual int vocab_size() const = 0;  // largest id + 1
  virtual const TextStart& text_start() const = 0;
};

// Reads `path`: a tokenizer.json, a tiktoken file (tokenizer_tiktoken.h), or a directory that holds
// one. Errors name what the file asks for and we lack.
StatusOr<std::unique_ptr<Tokenizer>> load_tokenizer(const std::filesystem::path& path);
// The same from the JSON text, for tests and fuzzers.
StatusOr<std::unique_ptr<Tokenizer>> parse_tokenizer_json(std::string_view json);

// Decodes a growing list of ids piece by piece: append() returns the text that has become certain
// with this id (whole characters only, as early as possible), flush() what remains (U+FFFD for a
// character cut short). One thread. The tokenizer must outlive it.
class TokenStreamer {
 public:
  TokenStreamer(const Tokenizer& tokenizer, bool skip_special_tokens)
      : tokenizer_(&tokenizer), skip_special_(skip_special_tokens) {}
  // Tells what stands before the first append(): what the front of a text loses, the answer's front
  // keeps, and a character that the prompt begins the answer may complete.
  void prime(std::span<const TokenId> prompt_ids);
  std::string append(TokenId id);
  std::string flush();

 private:
  std::string_view at_front(std::string_view bytes);
  std::string take_certain();

  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string pending_;  // bytes of a character not yet complete
  std::string front_;    // the first token's bytes, where some are dropped from within
  bool first_token_ = true;
  int stripped_ = 0;  // so far from the front of the text
};

}  // namespace octavo::text
