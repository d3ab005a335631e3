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

// How the texts of tokens join, beyond standing side by side. SentencePiece-style vocabularies mark
// the space before a word, and the one before the first word is not written; others mark the end of
// a word, and no space follows the last.
struct TextJoin {
  std::string strip;  // dropped from the front of the text, up to strip_count times
  int strip_count = 0;
  bool drop_spaces_of_first_token = false;
  bool first_token_alone = false;  // the first token reads as it does decoded alone
  bool first_has_text = false;     // … which is every one up to the first that gives text
  bool last_token_alone = false;   // the same of the last token
  bool repeats_vanish = false;     // of equal neighbours only one is written
  bool each_invalid_byte = false;  // each becomes U+FFFD, not each invalid part
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
  virtual const TextJoin& text_join() const = 0;
};

// Reads `path`: a file or a directory, of which tokenizer.json counts first, then tokenizer.model
// or spiece.model (SentencePiece or tiktoken), a tiktoken file, vocab.json with merges.txt, and
// vocab.txt. What those files leave open stands beside them (tokenizer_settings.h). Errors name
// what the file asks for and we lack, or what is missing.
StatusOr<std::unique_ptr<Tokenizer>> load_tokenizer(const std::filesystem::path& path);
// Whether there is something in `directory` that load_tokenizer would take, or refuse by name.
bool has_tokenizer(const std::filesystem::path& directory);
// The same as load_tokenizer from the JSON text, for tests and fuzzers.
StatusOr<std::unique_ptr<Tokenizer>> parse_tokenizer_json(std::string_view json);

// Decodes a growing list of ids piece by piece: append() returns the text that has become certain
// with this id (whole characters only, as early as possible), flush() what remains (U+FFFD for a
// character cut short). One thread. The tokenizer must outlive it.
class TokenStreamer {
 public:
  // `shown`: special tokens that are text even with skip_special_tokens, ascending.
  TokenStreamer(const Tokenizer& tokenizer, bool skip_special_tokens,
                std::vector<TokenId> shown = {})
      : tokenizer_(&tokenizer), skip_special_(skip_special_tokens), shown_(std::move(shown)) {}
  // Tells what stands before the first append(): what the front of a text loses, the answer's front
  // keeps, and a character that the prompt begins the answer may complete.
  void prime(std::span<const TokenId> prompt_ids);
  std::string append(TokenId id);
  std::string flush();

 private:
  bool skips(TokenId id) const;
  std::string_view at_front(std::string_view bytes);
  std::string append_before_last(TokenId id);
  void append_replacements(int bytes, std::string& out) const;
  std::string take_certain();

  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::vector<TokenId> shown_;
  std::string pending_;  // bytes of a character not yet complete
  std::string front_;    // the first token's bytes, where some are dropped from within
  bool first_token_ = true;
  int stripped_ = 0;  // so far from the front of the text
  TokenId previous_ = -1;
  std::string if_followed_, if_last_;  // what remains of the last token, if another follows or not
};

}  // namespace octavo::text
