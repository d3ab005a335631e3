#include "serve/openai/openai_json.h"

#include "base/json_writer.h"
#include "serve/errors.h"
#include "serve/openai/timings.h"

namespace octavo::serve {

namespace {

void append_number(std::string& out, int64_t value) {
  out += std::to_string(value);
}

// A usage without its end, to which more may be added.
void append_token_counts(std::string& out, int64_t prompt, int64_t completion) {
  out += "{\"prompt_tokens\":";
  append_number(out, prompt);
  out += ",\"total_tokens\":";
  append_number(out, prompt + completion);
  out += ",\"completion_tokens\":";
  append_number(out, completion);
}

void append_asked_times(std::string& out, const AnswerOptions& options, const AnswerTimes& times) {
  if (options.timings) {
    out += ",\"timings\":";
    append_timings(out, times);
  }
  if (options.request_metrics) {
    out += ",\"metrics\":";
    append_request_metrics(out, times);
  }
}

}  // namespace

std::string answer_prefix(const AnswerHead& head, std::string_view object) {
  std::string out = "{\"id\":";
  append_json_string(out, head.id);
  out.append(",\"object\":\"").append(object).append("\",\"created\":");
  append_number(out, head.created);
  out += ",\"model\":";
  append_json_string(out, head.model);
  out += ",\"choices\":[";
  return out;
}

void append_answer_tail(std::string& out, const Usage& usage) {
  out += "],\"service_tier\":null,\"system_fingerprint\":";
  append_fingerprint(out);
  out += ",\"usage\":";
  append_usage(out, usage);
}

void append_finish_reason(std::string& out, const AnswerPiece& piece) {
  const FinishReason reason = piece.output.finish_reason;
  if (reason == FinishReason::kNone) {
    out += "null";
  } else {
    const std::string_view word = piece.chat.called_tools ? "tool_calls" : to_string(reason);
    out.append("\"").append(word).append("\"");
  }
}

void append_stop_reason(std::string& out, const CompletionOutput& output) {
  if (const auto* text = std::get_if<std::string>(&output.stop_reason)) {
    append_json_string(out, *text);
  } else if (const auto* id = std::get_if<TokenId>(&output.stop_reason)) {
    append_number(out, *id);
  } else {
    out += "null";
  }
}

void append_token_ids(std::string& out, const std::vector<TokenId>& ids, bool wanted) {
  if (!wanted) {
    out += "null";
    return;
  }
  out += '[';
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out += ',';
    append_number(out, ids[i]);
  }
  out += ']';
}

void append_usage(std::string& out, const Usage& usage) {
  append_token_counts(out, usage.prompt_tokens, usage.completion_tokens);
  out += ",\"prompt_tokens_details\":{\"cached_tokens\":";
  append_number(out, usage.cached_tokens);
  out += '}';
  if (usage.reasoning_tokens) {
    out += ",\"completion_tokens_details\":{\"reasoning_tokens\":";
    append_number(out, *usage.reasoning_tokens);
    out += '}';
  }
  out += '}';
}

void append_usage_so_far(std::string& out, const AnswerPrompt& prompt, int completion_tokens) {
  append_token_counts(out, static_cast<int64_t>(prompt.token_ids.size()), completion_tokens);
  out += '}';
}

void append_fingerprint(std::string& out) {
  append_json_string(out, "octavo-" OCTAVO_VERSION);
}

void append_times(std::string& out, const AnswerOptions& options, const Usage& usage) {
  append_asked_times(out, options,
                     {.at = usage.times,
                      .prompt_tokens = usage.prompt_tokens,
                      .cached_tokens = usage.cached_tokens,
                      .output_tokens = usage.completion_tokens});
}

void append_times(std::string& out, const AnswerOptions& options, const AnswerPiece& piece,
                  const AnswerPrompt& prompt) {
  if (!piece.output.finished() && !options.timings_per_token) return;
  AnswerOptions asked = options;
  asked.request_metrics = options.request_metrics && piece.output.finished();
  append_asked_times(out, asked,
                     {.at = piece.times,
                      .prompt_tokens = static_cast<int64_t>(prompt.token_ids.size()),
                      .cached_tokens = piece.cached_tokens,
                      .output_tokens = options.echo_only ? 0 : piece.output.num_output_tokens});
}

void append_stream_end(std::string& out, const AnswerHead& head, std::string_view object,
                       const Usage& usage) {
  if (head.options.include_usage) {
    out.append("data: ").append(answer_prefix(head, object)).append("],\"system_fingerprint\":");
    append_fingerprint(out);
    out += ",\"usage\":";
    append_usage(out, usage);
    out += "}\n\n";
  }
  out += kDoneEvent;
}

}  // namespace octavo::serve
