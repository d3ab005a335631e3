// libFuzzer target for chat templates: the input is a template, which is parsed and rendered with a
// small conversation. Nothing may crash, what is rendered is valid UTF-8, and what a user wrote is
// never taken for the template's own. One thread.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "fuzzing.h"
#include "octavo/value.h"
#include "text/chat_template.h"

namespace {

using octavo::require;

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

// The user's message holds a character that a template without escapes cannot write itself.
constexpr std::string_view kOfTheUser = "北";

void check_marks(std::string_view source, const octavo::text::RenderResult& result) {
  size_t before = 0;
  for (const octavo::TextRange& range : result.from_request) {
    require(range.begin >= before && range.begin < range.end);
    before = range.end;
  }
  require(before <= result.output.size());
  if (source.find(kOfTheUser) != source.npos || source.find('\\') != source.npos) return;
  for (size_t at = 0; (at = result.output.find(kOfTheUser, at)) != std::string::npos; ++at) {
    bool marked = false;
    for (const octavo::TextRange& range : result.from_request)
      marked = marked || (range.begin <= at && at + kOfTheUser.size() <= range.end);
    require(marked);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string source(reinterpret_cast<const char*>(data), size);
  const auto parsed = octavo::text::ChatTemplate::parse(source);
  if (!parsed.ok()) return 0;
  const auto result = (*parsed)->render(conversation(), 1'785'069'296);
  require(octavo::valid_utf8(result.output) && (result.ok() || result.output.empty()));
  check_marks(source, result);
  return 0;
}
