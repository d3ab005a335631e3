#include "serve/openai/sampling_json.h"

namespace octavo::serve {

namespace {

template <typename T>
void write_optional(JsonWriter& w, std::string_view name, const std::optional<T>& value) {
  w.key(name);
  if (value) {
    w.number(*value);
  } else {
    w.null();
  }
}

void write_ids(JsonWriter& w, const std::vector<TokenId>& ids) {
  w.begin_array();
  for (const TokenId id : ids) w.number(id);
  w.end_array();
}

void write_strings(JsonWriter& w, const std::vector<std::string>& strings) {
  w.begin_array();
  for (const std::string& text : strings) w.string(text);
  w.end_array();
}

void write_logit_bias(JsonWriter& w, const std::vector<std::pair<TokenId, float>>& bias) {
  w.key("logit_bias");
  if (bias.empty()) {
    w.null();
    return;
  }
  w.begin_object();
  for (const auto& [id, value] : bias) w.key(std::to_string(id)).number(value);
  w.end_object();
}

// A schema as the object that it is. The text of a request need not be JSON: what compiles it will
// say so.
void write_schema(JsonWriter& w, const std::string& text) {
  const StatusOr<Value> schema = parse_json(text);
  if (schema.ok() && (schema->is_dict() || schema->is_bool())) {
    w.value(*schema);
  } else {
    w.string(text);
  }
}

void write_structured_output(JsonWriter& w, const std::optional<StructuredOutput>& output) {
  using Kind = StructuredOutput::Kind;
  w.key("structured_outputs");
  if (!output) {
    w.null();
    return;
  }
  w.begin_object();
  switch (output->kind) {
    case Kind::kJsonSchema:
      w.key("json");
      write_schema(w, output->text);
      break;
    case Kind::kJsonObject:
      w.key("json_object").boolean(true);
      break;
    case Kind::kRegex:
      w.key("regex").string(output->text);
      break;
    case Kind::kChoice:
      w.key("choice").raw(output->text);
      break;
    case Kind::kGrammar:
      w.key("grammar").string(output->text);
      break;
    case Kind::kStructuralTag:
      w.key("structural_tag");
      write_schema(w, output->text);
      break;
  }
  w.key("disable_any_whitespace").boolean(output->disable_any_whitespace).end_object();
}

void write_repetition_detection(JsonWriter& w,
                                const std::optional<RepetitionDetection>& detection) {
  w.key("repetition_detection");
  if (!detection) {
    w.null();
    return;
  }
  w.begin_object().key("max_pattern_size").number(detection->max_pattern_size);
  w.key("min_pattern_size").number(detection->min_pattern_size);
  w.key("min_count").number(detection->min_count).end_object();
}

}  // namespace

void write_sampling_params(JsonWriter& w, const SamplingParams& s) {
  w.begin_object().key("n").number(s.n);
  w.key("presence_penalty").number(s.presence_penalty);
  w.key("frequency_penalty").number(s.frequency_penalty);
  w.key("repetition_penalty").number(s.repetition_penalty);
  w.key("temperature").number(s.temperature).key("top_p").number(s.top_p);
  w.key("top_k").number(s.top_k).key("min_p").number(s.min_p);
  write_optional(w, "seed", s.seed);
  w.key("stop");
  write_strings(w, s.stop);
  w.key("stop_token_ids");
  write_ids(w, s.stop_token_ids);
  w.key("ignore_eos").boolean(s.ignore_eos);
  write_optional(w, "max_tokens", s.max_tokens);
  w.key("min_tokens").number(s.min_tokens);
  write_optional(w, "logprobs", s.logprobs);
  write_optional(w, "prompt_logprobs", s.prompt_logprobs);
  write_logit_bias(w, s.logit_bias);
  w.key("allowed_token_ids");
  if (s.allowed_token_ids) {
    write_ids(w, *s.allowed_token_ids);
  } else {
    w.null();
  }
  w.key("bad_words");
  write_strings(w, s.bad_words);
  w.key("include_stop_str_in_output").boolean(s.include_stop_str_in_output);
  w.key("skip_special_tokens").boolean(s.skip_special_tokens);
  write_structured_output(w, s.structured_output);
  write_optional(w, "thinking_token_budget",
                 s.thinking ? s.thinking->max_tokens : std::optional<int>());
  write_repetition_detection(w, s.repetition_detection);
  w.end_object();
}

}  // namespace octavo::serve
