#include "base/json_writer.h"
#include "serve/openai/logprobs_json.h"
#include "serve/openai/openai_format.h"
#include "serve/openai/openai_json.h"

namespace octavo::serve {

namespace {

constexpr std::string_view kObject = "text_completion";

// What of an answer is shown: with echo_only, none of it.
const CompletionOutput& shown_of(const CompletionOutput& output, const AnswerOptions& options) {
  static const CompletionOutput kNothing{};
  return options.echo_only ? kNothing : output;
}

void append_logprobs(std::string& out, const CompletionOutput& shown, const AnswerPrompt& prompt,
                     const AnswerOptions& options, bool echo, const Text& text, int& offset) {
  out += ",\"logprobs\":";
  const std::span<const TokenId> echoed =
      echo ? std::span(prompt.token_ids) : std::span<const TokenId>();
  append_completion_logprobs(out, echoed, prompt.logprobs, shown.logprobs, options, text, offset);
}

class Writer final : public ChoiceWriter {
 public:
  Writer(const AnswerHead& head, const Text& text, int index) : head_(head), text_(text) {
    prefix_.append("data: ").append(answer_prefix(head, kObject));
    prefix_.append("{\"index\":").append(std::to_string(index)).append(",\"text\":");
  }

  void begin(std::string&, const AnswerPrompt&) override {}

  void append(std::string& out, const AnswerPiece& piece, const AnswerPrompt& prompt) override {
    const AnswerOptions& options = head_.options;
    const CompletionOutput& output = piece.output;
    const CompletionOutput& shown = shown_of(output, options);
    const bool first = !started_;
    const bool echo = options.echo && first;
    started_ = true;
    out += prefix_;
    append_json_string(out, echo ? prompt.text + shown.text : shown.text);
    append_logprobs(out, shown, prompt, options, echo, text_, text_offset_);
    out += ",\"finish_reason\":";
    append_finish_reason(out, piece);
    out += ",\"stop_reason\":";
    append_stop_reason(out, output);
    out += ",\"token_ids\":";
    append_token_ids(out, output.token_ids, options.return_token_ids && !options.echo_only);
    if (first && options.return_token_ids) {
      out += ",\"prompt_token_ids\":";
      append_token_ids(out, prompt.token_ids, true);
    }
    out += "}]";
    if (output.finished() && !options.include_usage) {
      out += ",\"system_fingerprint\":";
      append_fingerprint(out);
    }
    out += ",\"usage\":";
    if (options.continuous_usage) {
      append_usage_so_far(out, prompt, options.echo_only ? 0 : output.num_output_tokens);
    } else {
      out += "null";
    }
    append_times(out, options, piece, prompt);
    out += "}\n\n";
  }

 private:
  const AnswerHead& head_;
  const Text& text_;
  std::string prefix_;  // up to the choice's text
  bool started_ = false;
  int text_offset_ = 0;  // characters (code points) before this event, for logprobs
};

class CompletionsFormat final : public AnswerFormat {
 public:
  CompletionsFormat(AnswerHead head, const Text& text)
      : AnswerFormat(std::move(head)), text_(text) {}

  std::unique_ptr<ChoiceWriter> choice(int index) override {
    return std::make_unique<Writer>(head(), text_, index);
  }
  void end_stream(std::string& out, const Usage& usage) override {
    append_stream_end(out, head(), kObject, usage);
  }

  std::string body(const std::vector<AnswerPrompt>& prompts,
                   const std::vector<AnswerPiece>& answers, const Usage& usage) override {
    std::string out = answer_prefix(head(), kObject);
    const size_t n = answers.size() / prompts.size();
    for (size_t i = 0; i < answers.size(); ++i) {
      if (i > 0) out += ',';
      append_choice(out, i, answers[i], prompts[i / n]);
    }
    append_answer_tail(out, usage);
    append_times(out, head().options, usage);
    out += ",\"kv_transfer_params\":null}";
    return out;
  }

 private:
  void append_choice(std::string& out, size_t index, const AnswerPiece& answer,
                     const AnswerPrompt& prompt) const {
    const AnswerOptions& options = head().options;
    const CompletionOutput& shown = shown_of(answer.output, options);
    out.append("{\"index\":").append(std::to_string(index)).append(",\"text\":");
    append_json_string(out, options.echo ? prompt.text + shown.text : shown.text);
    int offset = 0;
    append_logprobs(out, shown, prompt, options, options.echo, text_, offset);
    out += ",\"finish_reason\":";
    append_finish_reason(out, answer);
    out += ",\"stop_reason\":";
    append_stop_reason(out, answer.output);
    out += ",\"token_ids\":";
    append_token_ids(out, shown.token_ids, options.return_token_ids);
    out += ",\"prompt_logprobs\":";
    append_prompt_logprobs(out, prompt.logprobs, options.prompt_logprobs);
    out += ",\"prompt_token_ids\":";
    append_token_ids(out, prompt.token_ids, options.return_token_ids);
    out += '}';
  }

  const Text& text_;
};

}  // namespace

std::unique_ptr<AnswerFormat> make_completions_format(AnswerHead head, const Text& text) {
  return std::make_unique<CompletionsFormat>(std::move(head), text);
}

}  // namespace octavo::serve
