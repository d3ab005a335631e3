// Fuzzes what a client's body goes through before the engine sees it: JSON to a Value, a Value to
// the native request of each endpoint, truncation and the token limit. The first byte picks the
// endpoint.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/json_writer.h"
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

void check(bool condition) {
  if (!condition) std::abort();
}

// A refusal must say why, in words that can be sent.
template <typename T>
bool usable(const StatusOr<T>& parsed) {
  if (parsed.ok()) return true;
  check(!parsed.status().message().empty());
  return false;
}

void check_common(const GenerationFields& fields) {
  constexpr int kContext = 8;
  std::vector<TokenId> prompt(12, 1);
  if (truncate_prompt(fields, kContext, prompt).ok() && fields.truncate_prompt_tokens) {
    check(!prompt.empty() && prompt.size() <= kContext);
  }
  (void)resolve_max_tokens(fields, SamplingParams(), kContext, 4);
  check(fields.answer.stream_interval >= 1);
}

void check_chat(const StatusOr<ChatRequest>& request) {
  if (!usable(request)) return;
  check(!request->chat.messages.empty());
  for (const Value& message : request->chat.messages) {
    const Value& content = *message.find("content");
    check(message.find("role")->is_string() && (content.is_string() || content.is_list()));
  }
  if (request->tool_choice.forced()) {
    const auto schema = call_schema(request->tool_choice, *request->chat.tools);
    check(!usable(schema) || parse_json(*schema).ok());
  }
  check_common(*request);
}

// Read, shown and read again, as a conversation that goes on does; then asked.
void check_responses(const Value& body) {
  StatusOr<ResponsesRequest> request = parse_responses(body);
  if (!usable(request)) return;
  const auto again = read_input_items(Value(request->items));
  check(usable(again) && *again == request->items);
  std::erase_if(request->items, is_reference);
  std::vector<Value> messages;
  append_messages(request->items, messages);
  const StatusOr<ChatRequest> chat =
      make_chat_request(*request, std::move(messages), SamplingParams());
  check_chat(chat);
  if (chat.ok()) check(parse_json("{" + echo_members(*request, *chat) + "}").ok());
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
  check(body.ok());
  const auto request = parse_tokens_request(*body, SamplingParams());
  check(usable(request));
  return request->sampling;
}

void check_tokens(const Value& body) {
  const StatusOr<TokensRequest> request = parse_tokens_request(body, SamplingParams());
  if (!usable(request)) return;
  check(!request->token_ids.empty());
  check_common(*request);
  // Once only, since "7" and "07" are two keys of logit_bias for one token.
  const std::string once = rendered(read_again(rendered(request->sampling)));
  check(rendered(read_again(once)) == once);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const StatusOr<Value> body = parse_json(text);
  if (!usable(body)) return 0;
  switch (data[0] % 6) {
    case 0: {
      const auto request = parse_completions(*body, SamplingParams());
      if (!usable(request)) return 0;
      check(!request->prompts.empty());
      check_common(*request);
      return 0;
    }
    case 1:
      check_chat(parse_chat(*body, SamplingParams()));
      return 0;
    case 3:
      check_chat(parse_messages(*body, SamplingParams()));
      return 0;
    case 4:
      check_responses(*body);
      return 0;
    case 5:
      check_tokens(*body);
      return 0;
    default:
      (void)usable(parse_tokenize(*body));
      return 0;
  }
}
