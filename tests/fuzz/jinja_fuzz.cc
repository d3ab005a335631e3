// libFuzzer target for chat templates: the input is a template, which is parsed and rendered with a
// small conversation. Nothing may crash, and what is rendered is valid UTF-8. One thread.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/utf8.h"
#include "octavo/value.h"
#include "text/chat_template.h"

namespace {

const octavo::Value::Dict& conversation() {
  static const octavo::Value kVariables = *octavo::parse_json(R"({
    "messages": [
      {"role": "system", "content": "Be kind."},
      {"role": "user", "content": [{"type": "text", "text": "Wie heißt 北京? 👋"}, {"type": "image"}]},
      {"role": "assistant", "content": null, "reasoning_content": "Hm.",
       "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"a": 1.5, "b": [true, null]}}}]},
      {"role": "tool", "content": "{\"x\": 1}"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
    "documents": null, "add_generation_prompt": true, "bos_token": "<s>", "n": -7, "f": 1e300, "s": "a b  c"})");
  return kVariables.as_dict();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parsed =
      octavo::text::ChatTemplate::parse(std::string(reinterpret_cast<const char*>(data), size));
  if (!parsed.ok()) return 0;
  const auto result = (*parsed)->render(conversation(), 1'785'069'296);
  if (!octavo::valid_utf8(result.output) || (!result.ok() && !result.output.empty())) std::abort();
  return 0;
}
