#include "serve/messages/messages_format.h"

#include <optional>
#include <utility>

#include "base/json_writer.h"
#include "serve/errors.h"

namespace octavo::serve {

namespace {

constexpr std::string_view kWhiteSpace = " \t\r\n";
constexpr int kPiecesPerPing = 32;

bool is_blank(std::string_view text) {
  return text.find_first_not_of(kWhiteSpace) == std::string_view::npos;
}

// {"type":"tool_use","id":…,"name":…,"input":…}: `input` is JSON.
void append_tool_use(std::string& out, const ToolCallDelta& call, std::string_view input) {
  out += "{\"type\":\"tool_use\",\"id\":";
  append_json_string(out, call.id);
  out += ",\"name\":";
  append_json_string(out, call.name);
  out.append(",\"input\":").append(input).append("}");
}

// What the prefix cache has saved is counted by itself.
void append_usage(std::string& out, const Usage& usage) {
  out.append("{\"input_tokens\":")
      .append(std::to_string(usage.prompt_tokens - usage.cached_tokens));
  out.append(",\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":");
  out.append(std::to_string(usage.cached_tokens));
  out.append(",\"output_tokens\":").append(std::to_string(usage.completion_tokens));
  if (usage.reasoning_tokens) {
    out.append(",\"output_tokens_details\":{\"thinking_tokens\":");
    out.append(std::to_string(*usage.reasoning_tokens)).append("}");
  }
  out += '}';
}

// "stop_reason":…,"stop_sequence":…
void append_stop(std::string& out, const CompletionOutput& output, bool called,
                 std::optional<int> context_left) {
  const auto* sequence = std::get_if<std::string>(&output.stop_reason);
  std::string_view reason = called ? "tool_use" : "end_turn";
  if (sequence != nullptr) reason = "stop_sequence";
  if (output.finish_reason == FinishReason::kLength) {
    const bool full = context_left && output.num_output_tokens >= *context_left;
    reason = full ? "model_context_window_exceeded" : "max_tokens";
  }
  // The server stops: the client may send what it has and go on from there.
  if (output.finish_reason == FinishReason::kAbort) reason = "pause_turn";
  out.append("\"stop_reason\":\"").append(reason).append("\",\"stop_sequence\":");
  if (reason == "stop_sequence") {
    append_json_string(out, *sequence);
  } else {
    out += "null";
  }
}

// `{"id":…,"type":"message","role":"assistant","model":…,"content":[`
std::string message_prefix(const AnswerHead& head) {
  std::string out = "{\"id\":";
  append_json_string(out, head.id);
  out += ",\"type\":\"message\",\"role\":\"assistant\",\"model\":";
  append_json_string(out, head.model);
  out += ",\"content\":[";
  return out;
}

// `event: TYPE\ndata: {"type":"TYPE"`; the caller adds members and the end.
void begin_event(std::string& out, std::string_view type) {
  out.append("event: ").append(type).append("\ndata: {\"type\":\"").append(type).append("\"");
}
void end_event(std::string& out) {
  out += "}\n\n";
}

// What Writer leaves for the stream's end.
struct Ending {
  CompletionOutput output;
  bool called = false;
};

// The content blocks of a stream. At most one is open; text that is blank waits for more of it,
// since what stands between thinking and calls is none.
class Writer final : public ChoiceWriter {
 public:
  Writer(bool calls_are_sure, Ending& ending) : calls_are_sure_(calls_are_sure), ending_(ending) {}

  void begin(std::string&, const AnswerPrompt&) override {}

  void append(std::string& out, const AnswerPiece& piece, const AnswerPrompt&) override {
    const ChatDelta& delta = piece.chat;
    for (const int index : delta.retracted) retract(index);
    if (!delta.reasoning.empty()) {
      tell_call(out);
      open(out, Block::kThinking, R"({"type":"thinking","thinking":"","signature":""})");
      append_delta(out, delta.reasoning);
    }
    if (!delta.content.empty()) add_text(out, delta.content);
    for (const ToolCallDelta& call : delta.calls) add_call(out, call);
    if (piece.output.finished()) finish(out, piece.output);
  }

 private:
  enum class Block { kNone, kThinking, kText, kCall };

  void open(std::string& out, Block block, std::string_view start) {
    if (block_ == block && block != Block::kCall) return;
    close(out);
    if (block != Block::kText) blank_.clear();
    block_ = block;
    const std::string index = std::to_string(index_++);
    begin_event(out, "content_block_start");
    out.append(",\"index\":").append(index).append(",\"content_block\":").append(start);
    end_event(out);
    delta_prefix_.clear();
    begin_event(delta_prefix_, "content_block_delta");
    delta_prefix_.append(",\"index\":").append(index).append(",\"delta\":{\"type\":");
    delta_prefix_ += block == Block::kThinking ? R"("thinking_delta","thinking":)"
                     : block == Block::kText   ? R"("text_delta","text":)"
                                               : R"("input_json_delta","partial_json":)";
  }

  void append_delta(std::string& out, std::string_view text) const {
    out += delta_prefix_;
    append_json_string(out, text);
    out += '}';
    end_event(out);
  }

  void close(std::string& out) {
    if (block_ == Block::kNone) return;
    const std::string index = std::to_string(index_ - 1);
    if (block_ == Block::kThinking) {  // clients wait for one, and send it back; we sign nothing
      begin_event(out, "content_block_delta");
      out.append(",\"index\":").append(index);
      out += R"(,"delta":{"type":"signature_delta","signature":""})";
      end_event(out);
    }
    begin_event(out, "content_block_stop");
    out.append(",\"index\":").append(index);
    end_event(out);
    block_ = Block::kNone;
  }

  void add_text(std::string& out, std::string_view text) {
    if (block_ == Block::kText && !call_) return append_delta(out, text);
    blank_ += text;
    if (!is_blank(text)) tell_text(out);
  }

  void tell_text(std::string& out) {
    const std::string text = std::exchange(blank_, {});
    tell_call(out);
    open(out, Block::kText, R"({"type":"text","text":""})");
    append_delta(out, text);
  }

  void add_call(std::string& out, const ToolCallDelta& piece) {
    if (!piece.id.empty()) {
      tell_call(out);
      call_ = piece;
      held_pieces_ = 0;
      if (calls_are_sure_) tell_call(out);
      return;
    }
    if (calls_are_sure_) {
      if (!piece.arguments.empty()) append_delta(out, piece.arguments);
      return;
    }
    if (call_) call_->arguments += piece.arguments;
    if (++held_pieces_ % kPiecesPerPing == 0) {
      begin_event(out, "ping");
      end_event(out);
    }
  }

  // Of the call that is held, if there is one, what has come of it.
  void tell_call(std::string& out) {
    if (!call_) return;
    std::string start;
    append_tool_use(start, *call_, "{}");
    open(out, Block::kCall, start);
    if (!call_->arguments.empty()) append_delta(out, call_->arguments);
    ++calls_told_;
    call_.reset();
  }

  void retract(int index) {
    if (call_ && call_->index == index) {
      call_.reset();
    } else {
      --calls_told_;
    }
  }

  void finish(std::string& out, const CompletionOutput& output) {
    tell_call(out);
    if (index_ == 0 && !blank_.empty()) tell_text(out);
    close(out);
    ending_ = {.output = output, .called = calls_told_ > 0};
  }

  const bool calls_are_sure_;  // a grammar holds them
  Ending& ending_;
  Block block_ = Block::kNone;
  int index_ = 0;                      // of the next block
  std::string delta_prefix_;           // of the open block's deltas, up to their text
  std::string blank_;                  // text, not yet told
  std::optional<ToolCallDelta> call_;  // not yet told
  int held_pieces_ = 0;                // of it
  int calls_told_ = 0;
};

class MessagesFormat final : public AnswerFormat {
 public:
  MessagesFormat(AnswerHead head, std::string request_id, std::optional<int> context_left)
      : AnswerFormat(std::move(head)),
        request_id_(std::move(request_id)),
        context_left_(context_left) {}

  std::unique_ptr<ChoiceWriter> choice(int) override {
    const auto& parsing = head().parsing;
    const bool calls_are_sure =
        parsing != nullptr && parsing->parser.notation != text::CallNotation::kModel;
    return std::make_unique<Writer>(calls_are_sure, ending_);
  }

  // How much of the prompt was cached is known at the end only, and told there.
  void begin_stream(std::string& out, const std::vector<AnswerPrompt>& prompts) override {
    begin_event(out, "message_start");
    out.append(",\"message\":").append(message_prefix(head()));
    out += R"(],"stop_reason":null,"stop_sequence":null,"usage":)";
    append_usage(out, {.prompt_tokens = static_cast<int64_t>(prompts.front().token_ids.size())});
    out += '}';
    end_event(out);
  }

  void end_stream(std::string& out, const Usage& usage) override {
    if (ending_.output.finish_reason == FinishReason::kError) {
      return fail_stream(out, internal_error("The engine failed while it generated the answer."));
    }
    begin_event(out, "message_delta");
    out += ",\"delta\":{";
    append_stop(out, ending_.output, ending_.called, context_left_);
    out += "},\"usage\":";
    append_usage(out, usage);
    end_event(out);
    begin_event(out, "message_stop");
    end_event(out);
  }

  void fail_stream(std::string& out, const Status& failure) override {
    out.append("event: error\ndata: ").append(error(failure).body).append("\n\n");
  }

  HttpResponse error(const Status& failure) override {
    const int status = http_status(failure.code());
    return {.status = status,
            .body = anthropic_error_body(status, failure.message(), failure.param(), request_id_)};
  }

  std::string body(const std::vector<AnswerPrompt>&, const std::vector<AnswerPiece>& answers,
                   const Usage& usage) override {
    const AnswerPiece& answer = answers.front();
    std::string out = message_prefix(head());
    append_blocks(out, answer.chat);
    out += "],";
    append_stop(out, answer.output, !answer.chat.calls.empty(), context_left_);
    out += ",\"usage\":";
    append_usage(out, usage);
    out += '}';
    return out;
  }

 private:
  static void append_blocks(std::string& out, const ChatDelta& chat) {
    std::string_view comma;
    if (!chat.reasoning.empty()) {
      out += R"({"type":"thinking","signature":"","thinking":)";
      append_json_string(out, chat.reasoning);
      out += '}';
      comma = ",";
    }
    const bool alone = chat.reasoning.empty() && chat.calls.empty();
    if (!chat.content.empty() && (alone || !is_blank(chat.content))) {
      out.append(comma).append(R"({"type":"text","text":)");
      append_json_string(out, chat.content);
      out += '}';
      comma = ",";
    }
    for (const ToolCallDelta& call : chat.calls) {
      out += comma;
      // A call that the token limit has cut off has arguments that are no JSON.
      const StatusOr<Value> input = parse_json(call.arguments);
      append_tool_use(out, call, input.ok() ? to_json(*input) : "{}");
      comma = ",";
    }
  }

  const std::string request_id_;
  const std::optional<int> context_left_;
  Ending ending_;
};

}  // namespace

std::unique_ptr<AnswerFormat> make_messages_format(AnswerHead head, std::string request_id,
                                                   std::optional<int> context_left) {
  return std::make_unique<MessagesFormat>(std::move(head), std::move(request_id), context_left);
}

}  // namespace octavo::serve
