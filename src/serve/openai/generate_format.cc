#include "base/json_writer.h"
#include "serve/openai/generate.h"
#include "serve/openai/logprobs_json.h"
#include "serve/openai/openai_json.h"

namespace octavo::serve {

namespace {

std::string request_id_member(const AnswerHead& head) {
  std::string out = "{\"request_id\":";
  append_json_string(out, head.id);
  return out;
}

// From the choice's index to its end.
void append_choice(std::string& out, int index, const AnswerPiece& piece,
                   const AnswerOptions& options) {
  out.append("{\"index\":").append(std::to_string(index)).append(",\"logprobs\":");
  append_chat_logprobs(out, piece.output.logprobs, options);
  out += ",\"finish_reason\":";
  append_finish_reason(out, piece);
  out += ",\"token_ids\":";
  append_token_ids(out, piece.output.token_ids, true);
  out += '}';
}

class Writer final : public ChoiceWriter {
 public:
  Writer(const AnswerHead& head, int index)
      : head_(head),
        index_(index),
        prefix_("data: " + request_id_member(head) + ",\"choices\":[") {}

  void begin(std::string&, const AnswerPrompt&) override {}

  void append(std::string& out, const AnswerPiece& piece, const AnswerPrompt& prompt) override {
    out += prefix_;
    append_choice(out, index_, piece, head_.options);
    out += "],\"usage\":";
    if (head_.options.continuous_usage) {
      append_usage_so_far(out, prompt, piece.output.num_output_tokens);
    } else {
      out += "null";
    }
    append_times(out, head_.options, piece, prompt);
    out += "}\n\n";
  }

 private:
  const AnswerHead& head_;
  const int index_;
  const std::string prefix_;
};

class GenerateFormat final : public AnswerFormat {
 public:
  using AnswerFormat::AnswerFormat;

  std::unique_ptr<ChoiceWriter> choice(int index) override {
    return std::make_unique<Writer>(head(), index);
  }
  void end_stream(std::string& out, const Usage& usage) override {
    if (head().options.include_usage) {
      out.append("data: ").append(request_id_member(head())).append(",\"choices\":[],\"usage\":");
      append_usage(out, usage);
      out += "}\n\n";
    }
    out += kDoneEvent;
  }

  std::string body(const std::vector<AnswerPrompt>& prompts,
                   const std::vector<AnswerPiece>& answers, const Usage& usage) override {
    std::string out = request_id_member(head());
    out += ",\"model\":";
    append_json_string(out, head().model);
    out.append(",\"created\":").append(std::to_string(head().created)).append(",\"choices\":[");
    for (size_t i = 0; i < answers.size(); ++i) {
      if (i > 0) out += ',';
      append_choice(out, static_cast<int>(i), answers[i], head().options);
    }
    out += "],\"usage\":";
    append_usage(out, usage);
    append_times(out, head().options, usage);
    out += ",\"prompt_logprobs\":";
    append_prompt_logprobs(out, prompts.front().logprobs, head().options.prompt_logprobs);
    out += ",\"kv_transfer_params\":null,\"ec_transfer_params\":null}";
    return out;
  }
};

}  // namespace

std::unique_ptr<AnswerFormat> make_generate_format(AnswerHead head) {
  return std::make_unique<GenerateFormat>(std::move(head));
}

}  // namespace octavo::serve
