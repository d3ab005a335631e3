// Fuzzes what a client's body goes through before the engine sees it: JSON to a Value, a Value to
// the native request of each endpoint, truncation and the token limit. The first byte picks the
// endpoint.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "serve/chat_request.h"
#include "serve/openai_request.h"

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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const StatusOr<Value> body = parse_json(text);
  if (!usable(body)) return 0;
  switch (data[0] % 3) {
    case 0: {
      const auto request = parse_completions(*body, SamplingParams());
      if (!usable(request)) return 0;
      check(!request->prompts.empty());
      check_common(*request);
      return 0;
    }
    case 1: {
      const auto request = parse_chat(*body, SamplingParams());
      if (!usable(request)) return 0;
      for (const Value& message : request->chat.messages) {
        const Value& content = *message.find("content");
        check(message.find("role")->is_string() && (content.is_string() || content.is_list()));
      }
      if (request->tool_choice.forced()) {
        const auto schema = call_schema(request->tool_choice, *request->chat.tools);
        check(!usable(schema) || parse_json(*schema).ok());
      }
      check_common(*request);
      return 0;
    }
    default:
      (void)usable(parse_tokenize(*body));
      return 0;
  }
}
