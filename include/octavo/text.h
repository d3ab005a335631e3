// Text: what a model's tokenizer and chat template do, as one immutable object. Any thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/sampling_params.h"
#include "octavo/status.h"
#include "octavo/value.h"

namespace octavo {

// Bytes [begin, end) of a text.
struct TextRange {
  size_t begin = 0, end = 0;
  bool operator==(const TextRange&) const = default;
};

struct EncodeOptions {
  bool add_special_tokens = true;  // what the tokenizer adds by itself, such as <s>
  bool parse_special_tokens =
      true;  // special tokens written in the text are recognised; false: they are plain text
  // Ascending and disjoint: a special token that touches one of these is plain text too. Nothing
  // else about the encoding changes.
  std::span<const TextRange> plain = {};
};

struct RenderedChat {
  std::string text;
  // What came with the request and may write no special token: EncodeOptions::plain. Empty with
  // ModelOptions::trust_request_special_tokens.
  std::vector<TextRange> from_request;
};

// A conversation to render. Messages and tools are dicts as in the OpenAI API.
struct ChatPrompt {
  std::vector<Value> messages;
  std::optional<std::vector<Value>> tools;
  std::optional<std::vector<Value>> documents;
  bool add_generation_prompt = true;
  bool continue_final_message = false;
  std::string chat_template;    // text of another template; empty: the model's
  Value::Dict template_kwargs;  // further variables of the template
};

class Text {
 public:
  virtual ~Text() = default;

  // UTF-8 text to ids. Invalid UTF-8 is refused.
  virtual StatusOr<std::vector<TokenId>> encode(std::string_view text,
                                                EncodeOptions options = {}) const = 0;
  // Ids to UTF-8; ids without an entry decode to nothing, invalid bytes to U+FFFD.
  virtual std::string decode(std::span<const TokenId> ids, bool skip_special_tokens) const = 0;
  // The token as the vocabulary writes it ("Ġthe"); empty for ids without an entry.
  virtual std::string token_string(TokenId id) const = 0;
  virtual bool is_special(TokenId id) const = 0;
  // One more than the largest id that the tokenizer knows.
  virtual int vocab_size() const = 0;

  virtual bool has_chat_template() const = 0;
  // The Jinja source of the chat template; empty where there is none.
  virtual std::string_view chat_template() const { return {}; }
  // tokenizer_config.json, as JSON; empty where there is none.
  virtual std::string_view tokenizer_config() const { return {}; }
  // Renders the conversation. Errors: kInvalidArgument with the template's own message when it
  // raises, or when the model has no chat template.
  virtual StatusOr<RenderedChat> render_chat(const ChatPrompt& prompt) const = 0;
};

}  // namespace octavo
