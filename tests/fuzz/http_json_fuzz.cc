// Fuzzes what a client's body goes through before the engine sees it: JSON to a Value, a Value to
// the native request of each endpoint, truncation and the token limit. The first byte picks the
// endpoint.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/json_writer.h"
#include "fuzzing.h"
#include "serve/messages/messages_request.h"
#include "serve/openai/chat_request.h"
#include "serve/openai/generate.h"
#include "serve/openai/openai_request.h"
#include "serve/openai/sampling_json.h"
#include "serve/responses/responses_input.h"
#include "serve/responses/responses_request.h"

using namespace octavo;
using namespace octavo::serve;

namespace {

// A refusal must say why, in words that can be sent.
template <typename T>
bool usable(const StatusOr<T>& parsed) {
  if (parsed.ok()) return true;
  require(!parsed.status().message().empty());
  return false;
}

void check_common(const GenerationFields& fields) {
  constexpr int kContext = 8;
  std::vector<TokenId> prompt(12, 1);
  if (truncate_prompt(fields, kContext, prompt).ok() && fields.truncate_prompt_tokens) {
    require(!prompt.empty() && prompt.size() <= kContext);
  }
  (void)resolve_max_tokens(fields, SamplingParams(), kContext, 4);
  require(fields.answer.stream_interval >= 1);
}

void check_chat(const StatusOr<ChatRequest>& request) {
  if (!usable(request)) return;
  require(!request->chat.messages.empty());
  for (const Value& message : request->chat.messages) {
    const Value& content = *message.find("content");
    require(message.find("role")->is_string() && (content.is_string() || content.is_list()));
  }
  if (request->tool_choice.forced()) {
    const auto schema = call_schema(request->tool_choice, *request->chat.tools);
    require(!usable(schema) || parse_json(*schema).ok());
  }
  check_common(*request);
}

// Read, shown and read again, as a conversation that goes on does; then asked.
void check_responses(const Value& body) {
  StatusOr<ResponsesRequest> request = parse_responses(body);
  if (!usable(request)) return;
  const auto again = read_input_items(Value(request->items));
  require(usable(again) && *again == request->items);
  std::erase_if(request->items, is_reference);
  std::vector<Value> messages;
  append_messages(request->items, messages);
  const StatusOr<ChatRequest> chat =
      make_chat_request(*request, std::move(messages), SamplingParams());
  check_chat(chat);
  if (chat.ok()) require(parse_json("{" + echo_members(*request, *chat) + "}").ok());
}

// The sampling as /render writes it, and as /inference/v1/generate reads that.
std::string rendered(const SamplingParams& sampling) {
  JsonWriter w;
  write_sampling_params(w, sampling);
  return std::move(w).take();
}
SamplingParams read_again(const std::string& sampling) {
  constexpr int kDepth = 256;  // the schema may be as deep as a body
  const StatusOr<Value> body =
      parse_json("{\"token_ids\":[1],\"sampling_params\":" + sampling + "}", kDepth);
  require(body.ok());
  const auto request = parse_tokens_request(*body, SamplingParams());
  require(usable(request));
  return request->sampling;
}

void check_tokens(const Value& body) {
  const StatusOr<TokensRequest> request = parse_tokens_request(body, SamplingParams());
  if (!usable(request)) return;
  require(!request->token_ids.empty());
  check_common(*request);
  // Once only, since "7" and "07" are two keys of logit_bias for one token.
  const std::string once = rendered(read_again(rendered(request->sampling)));
  require(rendered(read_again(once)) == once);
}

void check_prompts(const Value& body) {
  const auto request = parse_completions(body, SamplingParams());
  if (!usable(request)) return;
  require(!request->prompts.empty());
  check_common(*request);
}

void check_conversation(const Value& body) {
  check_chat(parse_chat(body, SamplingParams()));
}

void check_text(const Value& body) {
  (void)usable(parse_tokenize(body));
}

void check_anthropic(const Value& body) {
  check_chat(parse_messages(body, SamplingParams()));
}

template <void (*check)(const Value& body)>
void read(std::string_view text) {
  const StatusOr<Value> body = parse_json(text);
  if (usable(body)) check(*body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  run_one_of(data, size,
             {read<check_prompts>, read<check_conversation>, read<check_text>,
              read<check_anthropic>, read<check_responses>, read<check_tokens>});
  return 0;
}
