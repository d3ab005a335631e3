#include "base/json_writer.h"
#include "serve/openai/chat_json.h"
#include "serve/openai/logprobs_json.h"
#include "serve/openai/openai_format.h"
#include "serve/openai/openai_json.h"

namespace octavo::serve {

namespace {

constexpr std::string_view kChunk = "chat.completion.chunk";

// Thinking that is not shown is not told token by token either.
bool shows_tokens(const AnswerHead& head) {
  return head.parsing == nullptr || head.parsing->include_reasoning;
}

class Writer final : public ChoiceWriter {
 public:
  Writer(const AnswerHead& head, int index) : head_(head) {
    prefix_.append("data: ").append(answer_prefix(head, kChunk));
    prefix_.append("{\"index\":").append(std::to_string(index)).append(",\"delta\":{");
  }

  // The chunk with the role.
  void begin(std::string& out, const AnswerPrompt& prompt) override {
    const AnswerOptions& options = head_.options;
    out += prefix_;
    out += "\"role\":";
    append_json_string(out, head_.role);
    out += ",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}],\"prompt_token_ids\":";
    append_token_ids(out, prompt.token_ids, options.return_token_ids);
    if (options.return_prompt_text) {
      out += ",\"prompt_text\":";
      append_json_string(out, prompt.rendered);
    }
    append_tail(out, prompt, 0);
  }

  void append(std::string& out, const AnswerPiece& piece, const AnswerPrompt& prompt) override {
    const CompletionOutput& output = piece.output;
    if (!started_) append_echo(out, prompt);
    started_ = true;
    out += prefix_;
    append_delta(out, piece.chat, head_.parsing != nullptr);
    out += "},\"logprobs\":";
    append_chat_logprobs(out, output.logprobs, head_.options);
    out += ",\"finish_reason\":";
    append_finish_reason(out, piece);
    if (output.finished()) {
      out += ",\"stop_reason\":";
      append_stop_reason(out, output);
    }
    out += ",\"token_ids\":";
    append_token_ids(out, output.token_ids, head_.options.return_token_ids && shows_tokens(head_));
    out += "}]";
    if (output.finished() && !head_.options.include_usage) {
      out += ",\"system_fingerprint\":";
      append_fingerprint(out);
    }
    append_times(out, head_.options, piece, prompt);
    append_tail(out, prompt, output.num_output_tokens);
  }

 private:
  // With echo, a chunk with the last message.
  void append_echo(std::string& out, const AnswerPrompt& prompt) const {
    if (!head_.options.echo || prompt.text.empty()) return;
    out += prefix_;
    out += "\"content\":";
    append_json_string(out, prompt.text);
    out += "},\"logprobs\":null,\"finish_reason\":null}]";
    append_tail(out, prompt, 0);
  }

  void append_tail(std::string& out, const AnswerPrompt& prompt, int completion_tokens) const {
    if (head_.options.continuous_usage) {
      out += ",\"usage\":";
      append_usage_so_far(out, prompt, completion_tokens);
    }
    out += "}\n\n";
  }

  const AnswerHead& head_;
  std::string prefix_;  // up to the members of the delta
  bool started_ = false;
};

class ChatFormat final : public AnswerFormat {
 public:
  using AnswerFormat::AnswerFormat;

  std::unique_ptr<ChoiceWriter> choice(int index) override {
    return std::make_unique<Writer>(head(), index);
  }
  void end_stream(std::string& out, const Usage& usage) override {
    append_stream_end(out, head(), kChunk, usage);
  }

  std::string body(const std::vector<AnswerPrompt>& prompts,
                   const std::vector<AnswerPiece>& answers, const Usage& usage) override {
    const AnswerPrompt& prompt = prompts.front();
    const AnswerOptions& options = head().options;
    std::string out = answer_prefix(head(), "chat.completion");
    for (size_t i = 0; i < answers.size(); ++i) {
      if (i > 0) out += ',';
      append_choice(out, i, answers[i], prompt);
    }
    append_answer_tail(out, usage);
    append_times(out, options, usage);
    out += ",\"prompt_logprobs\":";
    append_prompt_logprobs(out, prompt.logprobs, options.prompt_logprobs);
    out += ",\"prompt_token_ids\":";
    append_token_ids(out, prompt.token_ids, options.return_token_ids);
    out += ",\"prompt_text\":";
    if (options.return_prompt_text) {
      append_json_string(out, prompt.rendered);
    } else {
      out += "null";
    }
    out += ",\"kv_transfer_params\":null}";
    return out;
  }

 private:
  void append_choice(std::string& out, size_t index, const AnswerPiece& answer,
                     const AnswerPrompt& prompt) const {
    const AnswerOptions& options = head().options;
    out.append("{\"index\":").append(std::to_string(index)).append(",\"message\":");
    append_message(out, head().role, options.echo ? prompt.text : "", answer.chat);
    out += ",\"logprobs\":";
    append_chat_logprobs(out, answer.output.logprobs, options);
    out += ",\"finish_reason\":";
    append_finish_reason(out, answer);
    out += ",\"stop_reason\":";
    append_stop_reason(out, answer.output);
    out += ",\"token_ids\":";
    append_token_ids(out, answer.output.token_ids,
                     options.return_token_ids && shows_tokens(head()));
    out += '}';
  }
};

}  // namespace

std::unique_ptr<AnswerFormat> make_chat_format(AnswerHead head) {
  if (!shows_tokens(head)) head.options.logprobs.reset();
  return std::make_unique<ChatFormat>(std::move(head));
}

}  // namespace octavo::serve
