#include "serve/openai/unsupported_fields.h"

#include <string>
#include <string_view>

#include "serve/errors.h"

namespace octavo::serve {

namespace {

struct Unsupported {
  std::string_view name;
  std::string_view instead;
  std::string_view usual = {};  // a word that asks for what happens anyway
  bool even_empty = false;      // an empty object asks for something, too
};

constexpr Unsupported kUnsupported[] = {
    // OpenAI's
    {"functions", "use `tools`"},
    {"function_call", "use `tool_choice`", "none"},
    {"audio", "the model answers in text only"},
    {.name = "web_search_options",
     .instead = "this server does not search the web; offer the model a tool that does",
     .even_empty = true},
    {"verbosity", "say in a message how long the answer may be", "medium"},
    // vLLM's
    {"use_beam_search", "use `n` and `logprobs`, and choose among the answers"},
    {"logprob_token_ids", "use `logprobs`, and pick from what they show"},
    {"prompt_embeds", "send the prompt as text or as token ids"},
    {"kv_transfer_params", "this server neither sends its KV cache nor takes another's"},
    {"ec_transfer_params", "this server has no encoder"},
    {"vllm_xargs", "this server has no extension that would read it"},
    {"logits_processors", "use `logit_bias`, `allowed_token_ids` or `bad_words`"},
    {"watermarking", "this server adds no watermark"},
    // llama-server's
    {"grammar", "use `structured_outputs`: {\"grammar\": …}"},
    {"json_schema", "use `response_format`"},
};

bool asks_for_nothing(const Value& value, const Unsupported& field) {
  if (value.is_bool()) return !value.as_bool();
  if (value.is_string()) return value.as_string().empty() || value.as_string() == field.usual;
  if (value.is_list()) return value.as_list().empty();
  return value.is_dict() && value.as_dict().empty() && !field.even_empty;
}

}  // namespace

void refuse_unsupported(JsonFields& fields) {
  for (const Unsupported& field : kUnsupported) {
    const Value* value = fields.get(field.name);
    if (value == nullptr || asks_for_nothing(*value, field)) continue;
    fields.fail(field_error(field.name, "`" + std::string(field.name) + "` is not supported: " +
                                            std::string(field.instead) + "."));
  }
}

}  // namespace octavo::serve
