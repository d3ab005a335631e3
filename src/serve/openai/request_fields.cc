#include "serve/openai/request_fields.h"

#include <algorithm>
#include <charconv>

#include "serve/errors.h"
#include "serve/openai/structured_output_fields.h"
#include "serve/openai/unsupported_fields.h"

namespace octavo::serve {

namespace {

constexpr size_t kMaxStopStrings = 4;

void read_logit_bias(JsonFields& fields, SamplingParams& sampling) {
  const Value::Dict* bias = fields.dict("logit_bias");
  if (bias == nullptr) return;
  for (const auto& [key, value] : *bias) {
    TokenId id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size()) {
      return fields.fail(
          field_error("logit_bias", "Invalid key in logit_bias: `" + key + "` is no token id."));
    }
    if (!value.is_number()) {
      return fields.fail(shape_error("logit_bias." + key, "Input should be a valid number"));
    }
    sampling.logit_bias.emplace_back(
        id, static_cast<float>(std::clamp(value.as_double(), -100.0, 100.0)));
  }
}

void read_repetition_detection(JsonFields& fields, SamplingParams& sampling) {
  if (fields.dict("repetition_detection") == nullptr) return;
  JsonFields members(*fields.get("repetition_detection"), "repetition_detection.");
  RepetitionDetection detection;
  members.read("max_pattern_size", detection.max_pattern_size);
  members.read("min_pattern_size", detection.min_pattern_size);
  members.read("min_count", detection.min_count);
  fields.fail(members.status());
  sampling.repetition_detection = detection;
}

void read_sampling(JsonFields& fields, SamplingParams& s) {
  fields.read("n", s.n);
  int best_of = s.n;
  fields.read("best_of", best_of);
  if (best_of != s.n) {
    fields.fail(field_error("best_of",
                            "`best_of` other than `n` is not supported: ask for `n` answers with "
                            "`logprobs`, and choose among them."));
  }
  fields.read("presence_penalty", s.presence_penalty);
  fields.read("frequency_penalty", s.frequency_penalty);
  fields.read("repetition_penalty", s.repetition_penalty);
  fields.read("temperature", s.temperature);
  fields.read("top_p", s.top_p);
  fields.read("top_k", s.top_k);
  fields.read("min_p", s.min_p);
  fields.read("seed", s.seed);
  if (s.seed == -1) s.seed.reset();
  fields.read_strings("stop", s.stop);
  if (s.stop.size() > kMaxStopStrings) {
    fields.fail(field_error("stop", "At most " + std::to_string(kMaxStopStrings) +
                                        " stop strings are accepted, got " +
                                        std::to_string(s.stop.size()) + "."));
  }
  fields.read("stop_token_ids", s.stop_token_ids);
  fields.read("ignore_eos", s.ignore_eos);
  fields.read("min_tokens", s.min_tokens);
  fields.read("prompt_logprobs", s.prompt_logprobs);
  fields.read("allowed_token_ids", s.allowed_token_ids);
  fields.read_strings("bad_words", s.bad_words);
  fields.read("include_stop_str_in_output", s.include_stop_str_in_output);
  fields.read("skip_special_tokens", s.skip_special_tokens);
  read_logit_bias(fields, s);
  read_repetition_detection(fields, s);
}

void read_stream_options(JsonFields& fields, AnswerOptions& answer) {
  fields.read("stream", answer.stream);
  const Value::Dict* given = fields.dict("stream_options");
  if (given == nullptr || given->empty()) return;
  if (!answer.stream) {
    return fields.fail(
        field_error("stream_options", "Stream options can only be defined when `stream=True`."));
  }
  JsonFields options(*fields.get("stream_options"), "stream_options.");
  options.read("include_usage", answer.include_usage);
  options.read("continuous_usage_stats", answer.continuous_usage);
  answer.continuous_usage = answer.continuous_usage && answer.include_usage;
  fields.fail(options.status());
}

void read_timings(JsonFields& fields, GenerationFields& out) {
  AnswerOptions& answer = out.answer;
  fields.read("timings", answer.timings);
  fields.read("timings_per_token", answer.timings_per_token);
  answer.timings = answer.timings || answer.timings_per_token;
  fields.read("include_metrics", answer.request_metrics);
  answer.request_metrics = answer.request_metrics && out.sampling.n == 1;
}

// Any text but none: what is no text is refused in the same words.
void read_cache_salt(JsonFields& fields, GenerationFields& out) {
  const Value* salt = fields.get("cache_salt");
  if (salt == nullptr) return;
  if (!salt->is_string() || salt->as_string().empty()) {
    return fields.fail(field_error(
        "cache_salt", "Parameter 'cache_salt' must be a non-empty string if provided."));
  }
  out.cache_salt = salt->as_string();
}

void read_thinking_budget(JsonFields& fields, GenerationFields& out) {
  std::optional<int> budget;
  fields.read("thinking_token_budget", budget);
  if (!budget || *budget == -1) return;  // -1: no limit
  if (*budget < -1) {
    return fields.fail(
        field_error("thinking_token_budget",
                    "`thinking_token_budget` must be a non-negative integer or -1 for unlimited."));
  }
  out.thinking_token_budget = budget;
}

void read_prompt_options(JsonFields& fields, GenerationFields& out) {
  fields.read("truncate_prompt_tokens", out.truncate_prompt_tokens);
  if (out.truncate_prompt_tokens && *out.truncate_prompt_tokens < 1 &&
      *out.truncate_prompt_tokens != -1) {
    fields.fail(
        field_error("truncate_prompt_tokens", "truncate_prompt_tokens must be at least 1, or -1."));
  }
  std::string side = "left";
  fields.read("truncation_side", side);
  if (side != "left" && side != "right") {
    fields.fail(field_error("truncation_side", "truncation_side must be `left` or `right`."));
  }
  out.truncate_left = side == "left";
  fields.read("add_special_tokens", out.add_special_tokens);
}

}  // namespace

void read_common(JsonFields& fields, GenerationFields& out) {
  fields.read("model", out.model);
  refuse_unsupported(fields);
  read_sampling(fields, out.sampling);
  read_structured_output(fields, out.sampling);
  read_stream_options(fields, out.answer);
  AnswerOptions& answer = out.answer;
  const auto& prompt_logprobs = out.sampling.prompt_logprobs;
  answer.prompt_logprobs = prompt_logprobs.has_value();
  if (answer.stream && prompt_logprobs && (*prompt_logprobs > 0 || *prompt_logprobs == -1)) {
    fields.fail(
        field_error("prompt_logprobs", "`prompt_logprobs` are not available when `stream=True`."));
  }
  if (prompt_logprobs && *prompt_logprobs < -1) {
    fields.fail(
        field_error("prompt_logprobs", "`prompt_logprobs` must be a positive value or -1."));
  }
  fields.read("return_token_ids", answer.return_token_ids);
  fields.read("return_tokens_as_token_ids", out.tokens_as_ids);
  fields.read("stream_interval", answer.stream_interval);
  if (answer.stream_interval < 1) {
    fields.fail(field_error("stream_interval", "stream_interval must be at least 1."));
  }
  fields.read("echo", answer.echo);
  read_timings(fields, out);
  fields.read("priority", out.priority);
  fields.read("request_id", out.request_id);
  read_cache_salt(fields, out);
  read_thinking_budget(fields, out);
  read_prompt_options(fields, out);
}

Status check_logprobs(std::string_view field, int k) {
  if (k >= -1) return ok_status();
  return field_error(field, "`" + std::string(field) + "` must be a positive value or -1.");
}

}  // namespace octavo::serve
