#include "serve/openai_response.h"

#include "base/json_writer.h"
#include "serve/chat_json.h"
#include "serve/logprobs_json.h"

namespace octavo::serve {

namespace {

constexpr std::string_view kFingerprint = "octavo-" OCTAVO_VERSION;

std::string_view finish_word(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kAbort:
      return "abort";
    case FinishReason::kError:
      return "error";
  }
  return "error";
}

void append_number(std::string& out, int64_t value) {
  out += std::to_string(value);
}

void append_finish(std::string& out, const AnswerPiece& piece) {
  const FinishReason reason = piece.output.finish_reason;
  if (reason == FinishReason::kNone) {
    out += "null";
  } else {
    const std::string_view word = piece.chat.called_tools ? "tool_calls" : finish_word(reason);
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

void append_ids(std::string& out, const std::vector<TokenId>& ids, bool wanted) {
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

void append_usage(std::string& out, const Usage& usage, bool details) {
  out += "{\"prompt_tokens\":";
  append_number(out, usage.prompt_tokens);
  out += ",\"total_tokens\":";
  append_number(out, usage.prompt_tokens + usage.completion_tokens);
  out += ",\"completion_tokens\":";
  append_number(out, usage.completion_tokens);
  if (details) {
    out += ",\"prompt_tokens_details\":{\"cached_tokens\":";
    append_number(out, usage.cached_tokens);
    out += '}';
    if (usage.reasoning_tokens) {
      out += ",\"completion_tokens_details\":{\"reasoning_tokens\":";
      append_number(out, *usage.reasoning_tokens);
      out += '}';
    }
  }
  out += '}';
}

// `{"id":…,"object":…,"created":…,"model":…,"choices":[`
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

std::string_view chunk_object(const AnswerHead& head) {
  return head.dialect == Dialect::kChat ? "chat.completion.chunk" : "text_completion";
}

void append_completion_choice(std::string& out, int index, const AnswerPiece& answer,
                              const AnswerPrompt& prompt, const AnswerOptions& options,
                              const Text& text) {
  const CompletionOutput& output = answer.output;
  static const CompletionOutput kNothing{};
  const CompletionOutput& shown = options.echo_only ? kNothing : output;
  out += "{\"index\":";
  append_number(out, index);
  out += ",\"text\":";
  append_json_string(out, options.echo ? prompt.text + shown.text : shown.text);
  out += ",\"logprobs\":";
  if (options.logprobs) {
    int offset = 0;
    const std::span<const TokenId> echoed =
        options.echo ? std::span(prompt.token_ids) : std::span<const TokenId>();
    append_completion_logprobs(out, echoed, prompt.logprobs, shown.logprobs, options, text, offset);
  } else {
    out += "null";
  }
  out += ",\"finish_reason\":";
  append_finish(out, answer);
  out += ",\"stop_reason\":";
  append_stop_reason(out, output);
  out += ",\"token_ids\":";
  append_ids(out, shown.token_ids, options.return_token_ids);
  out += ",\"prompt_logprobs\":";
  if (options.prompt_logprobs) {
    append_prompt_logprobs(out, prompt.logprobs);
  } else {
    out += "null";
  }
  out += ",\"prompt_token_ids\":";
  append_ids(out, prompt.token_ids, options.return_token_ids);
  out += '}';
}

void append_chat_choice(std::string& out, const AnswerHead& head, int index,
                        const AnswerPiece& answer, const AnswerPrompt& prompt) {
  const CompletionOutput& output = answer.output;
  out += "{\"index\":";
  append_number(out, index);
  out += ",\"message\":";
  append_message(out, head.role, head.options.echo ? prompt.text : "", answer.chat);
  out += ",\"logprobs\":";
  if (head.options.logprobs) {
    append_chat_logprobs(out, output.logprobs, head.options);
  } else {
    out += "null";
  }
  out += ",\"finish_reason\":";
  append_finish(out, answer);
  out += ",\"stop_reason\":";
  append_stop_reason(out, output);
  out += ",\"token_ids\":";
  append_ids(out, output.token_ids, head.options.return_token_ids);
  out += '}';
}

// What a chat answer says once, beside its choices.
void append_chat_top_level(std::string& out, const AnswerPrompt& prompt,
                           const AnswerOptions& options) {
  out += ",\"prompt_logprobs\":";
  if (options.prompt_logprobs) {
    append_prompt_logprobs(out, prompt.logprobs);
  } else {
    out += "null";
  }
  out += ",\"prompt_token_ids\":";
  append_ids(out, prompt.token_ids, options.return_token_ids);
  out += ",\"prompt_text\":";
  if (options.return_prompt_text) {
    append_json_string(out, prompt.rendered);
  } else {
    out += "null";
  }
}

}  // namespace

void AnswerPiece::merge(AnswerPiece&& more) {
  CompletionOutput& from = more.output;
  output.index = from.index;
  output.text += from.text;
  output.token_ids.insert(output.token_ids.end(), from.token_ids.begin(), from.token_ids.end());
  output.logprobs.insert(output.logprobs.end(), std::make_move_iterator(from.logprobs.begin()),
                         std::make_move_iterator(from.logprobs.end()));
  output.cumulative_logprob = from.cumulative_logprob;
  output.finish_reason = from.finish_reason;
  output.stop_reason = std::move(from.stop_reason);
  output.num_output_tokens = from.num_output_tokens;
  chat.merge(std::move(more.chat));
}

std::string answer_body(const AnswerHead& head, const std::vector<AnswerPrompt>& prompts,
                        const std::vector<AnswerPiece>& answers, const Usage& usage,
                        const Text& text) {
  const bool chat = head.dialect == Dialect::kChat;
  std::string out = answer_prefix(head, chat ? "chat.completion" : "text_completion");
  const size_t n = answers.size() / prompts.size();
  for (size_t i = 0; i < answers.size(); ++i) {
    if (i > 0) out += ',';
    const AnswerPrompt& prompt = prompts[i / n];
    if (chat) {
      append_chat_choice(out, head, static_cast<int>(i), answers[i], prompt);
    } else {
      append_completion_choice(out, static_cast<int>(i), answers[i], prompt, head.options, text);
    }
  }
  out += "],\"service_tier\":null,\"system_fingerprint\":";
  append_json_string(out, kFingerprint);
  out += ",\"usage\":";
  append_usage(out, usage, true);
  if (chat) append_chat_top_level(out, prompts.front(), head.options);
  out += ",\"kv_transfer_params\":null}";
  return out;
}

ChoiceEvents::ChoiceEvents(const AnswerHead& head, int index) : head_(head) {
  prefix_.append("data: ").append(answer_prefix(head, chunk_object(head)));
  prefix_.append("{\"index\":").append(std::to_string(index));
  prefix_ += head.dialect == Dialect::kChat ? ",\"delta\":{" : ",\"text\":";
}

void ChoiceEvents::append(std::string& out, const AnswerPiece& piece, const AnswerPrompt& prompt,
                          const Text& text) {
  if (head_.dialect == Dialect::kChat) {
    append_chat(out, piece);
  } else {
    append_completion(out, piece.output, prompt, text);
  }
  started_ = true;
  append_tail(out, piece, prompt);
}

void ChoiceEvents::begin(std::string& out, const AnswerPrompt& prompt) {
  if (head_.dialect != Dialect::kChat) return;
  const AnswerOptions& options = head_.options;
  const auto append_usage_tail = [&] {
    if (options.continuous_usage) {
      out += ",\"usage\":";
      append_usage(out, {.prompt_tokens = static_cast<int64_t>(prompt.token_ids.size())}, false);
    }
    out += "}\n\n";
  };
  out += prefix_;
  out += "\"role\":";
  append_json_string(out, head_.role);
  out += ",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}],\"prompt_token_ids\":";
  append_ids(out, prompt.token_ids, options.return_token_ids);
  if (options.return_prompt_text) {
    out += ",\"prompt_text\":";
    append_json_string(out, prompt.rendered);
  }
  append_usage_tail();
  if (!options.echo || prompt.text.empty()) return;
  out += prefix_;
  out += "\"content\":";
  append_json_string(out, prompt.text);
  out += "},\"logprobs\":null,\"finish_reason\":null}]";
  append_usage_tail();
}

void ChoiceEvents::append_chat(std::string& out, const AnswerPiece& piece) {
  out += prefix_;
  append_delta(out, piece.chat, head_.parsing != nullptr);
  out += "},\"logprobs\":";
  if (head_.options.logprobs) {
    append_chat_logprobs(out, piece.output.logprobs, head_.options);
  } else {
    out += "null";
  }
}

void ChoiceEvents::append_completion(std::string& out, const CompletionOutput& output,
                                     const AnswerPrompt& prompt, const Text& text) {
  static const CompletionOutput kNothing{};
  const AnswerOptions& options = head_.options;
  const CompletionOutput& shown = options.echo_only ? kNothing : output;
  const bool echo_now = options.echo && !started_;
  out += prefix_;
  append_json_string(out, echo_now ? prompt.text + shown.text : shown.text);
  out += ",\"logprobs\":";
  if (options.logprobs) {
    const std::span<const TokenId> echoed =
        echo_now ? std::span(prompt.token_ids) : std::span<const TokenId>();
    append_completion_logprobs(out, echoed, prompt.logprobs, shown.logprobs, options, text,
                               text_offset_);
  } else {
    out += "null";
  }
}

// From the finish reason to the end of the event.
void ChoiceEvents::append_tail(std::string& out, const AnswerPiece& piece,
                               const AnswerPrompt& prompt) {
  const CompletionOutput& output = piece.output;
  const AnswerOptions& options = head_.options;
  const bool chat = head_.dialect == Dialect::kChat;
  out += ",\"finish_reason\":";
  append_finish(out, piece);
  if (!chat || output.finished()) {
    out += ",\"stop_reason\":";
    append_stop_reason(out, output);
  }
  out += ",\"token_ids\":";
  append_ids(out, output.token_ids, options.return_token_ids && !options.echo_only);
  out += "}]";
  if (output.finished()) {
    out += ",\"system_fingerprint\":";
    append_json_string(out, kFingerprint);
  }
  if (options.continuous_usage) {
    out += ",\"usage\":";
    const int64_t completion = options.echo_only ? 0 : output.num_output_tokens;
    append_usage(out, {static_cast<int64_t>(prompt.token_ids.size()), completion}, false);
  } else if (!chat) {
    out += ",\"usage\":null";
  }
  out += "}\n\n";
}

std::string usage_event(const AnswerHead& head, const Usage& usage) {
  std::string out = "data: ";
  out.append(answer_prefix(head, chunk_object(head))).append("],\"usage\":");
  append_usage(out, usage, true);
  out += "}\n\n";
  return out;
}

std::string error_event(std::string_view error_json) {
  return std::string("data: ").append(error_json).append("\n\n");
}

}  // namespace octavo::serve
