#include "serve/responses/responses_format.h"

#include "base/clock.h"
#include "base/json_writer.h"
#include "serve/errors.h"
#include "serve/responses/responses_items.h"

namespace octavo::serve {

namespace {

// How a response stands, or has ended.
struct Standing {
  std::string_view status = "in_progress";
  std::string_view error_code;   // failed
  std::string error;             // failed
  const Usage* usage = nullptr;  // none before the end

  bool kept() const { return status == "completed" || status == "incomplete"; }
};

Standing ended(FinishReason reason, const Usage& usage) {
  switch (reason) {
    case FinishReason::kStop:
    case FinishReason::kRepetition:
      return {.status = "completed", .usage = &usage};
    case FinishReason::kLength:
      return {.status = "incomplete", .usage = &usage};
    case FinishReason::kAbort:
      return {.status = "failed",
              .error_code = "server_error",
              .error = "The request was aborted: the server is shutting down.",
              .usage = &usage};
    case FinishReason::kNone:
    case FinishReason::kError:
      break;
  }
  return {.status = "failed",
          .error_code = "server_error",
          .error = "The engine failed while it generated the answer.",
          .usage = &usage};
}

Standing failed(const Status& failure) {
  const bool busy = failure.code() == StatusCode::kResourceExhausted;
  const bool prompt = http_status(failure.code()) == 400;
  return {.status = "failed",
          .error_code = busy ? "rate_limit_exceeded" : (prompt ? "invalid_prompt" : "server_error"),
          .error = failure.message()};
}

void append_response_usage(std::string& out, const Usage& usage) {
  const auto append = [&](std::string_view before, int64_t value) {
    out.append(before).append(std::to_string(value));
  };
  append("{\"input_tokens\":", usage.prompt_tokens);
  append(",\"input_tokens_details\":{\"cached_tokens\":", usage.cached_tokens);
  append(",\"cache_write_tokens\":0},\"output_tokens\":", usage.completion_tokens);
  append(",\"output_tokens_details\":{\"reasoning_tokens\":", usage.reasoning_tokens.value_or(0));
  append("},\"total_tokens\":", usage.prompt_tokens + usage.completion_tokens);
  out += '}';
}

class ResponsesFormat final : public AnswerFormat {
 public:
  ResponsesFormat(AnswerHead head, std::string echo, KeepResponse keep)
      : AnswerFormat(std::move(head)), echo_(std::move(echo)), keep_(std::move(keep)) {}

  void begin_stream(std::string& out, const std::vector<AnswerPrompt>&) override {
    const std::string response = object({}, "[]");
    append_event(out, "response.created", response);
    append_event(out, "response.in_progress", response);
  }

  std::unique_ptr<ChoiceWriter> choice(int) override { return std::make_unique<Writer>(*this); }

  void end_stream(std::string& out, const Usage& usage) override {
    stream_.finish(out, finish_reason_);
    const Standing standing = ended(finish_reason_, usage);
    const std::string response = finish(standing, stream_.items());
    append_event(out, "response." + std::string(standing.status), response);
  }

  void fail_stream(std::string& out, const Status& failure) override {
    stream_.finish(out, FinishReason::kError);
    append_event(out, "response.failed",
                 object(failed(failure), items_json(stream_.items(), head().options)));
  }

  std::string body(const std::vector<AnswerPrompt>&, const std::vector<AnswerPiece>& answers,
                   const Usage& usage) override {
    const AnswerPiece& answer = answers.front();
    return finish(ended(answer.output.finish_reason, usage), make_items(answer));
  }

 private:
  class Writer final : public ChoiceWriter {
   public:
    explicit Writer(ResponsesFormat& format) : format_(format) {}
    void begin(std::string&, const AnswerPrompt&) override {}
    void append(std::string& out, const AnswerPiece& piece, const AnswerPrompt&) override {
      format_.stream_.add(out, piece);
      format_.finish_reason_ = piece.output.finish_reason;
    }

   private:
    ResponsesFormat& format_;
  };

  std::string finish(const Standing& standing, const std::vector<ResponseItem>& items) {
    std::string response = object(standing, items_json(items, head().options));
    if (!keep_ || !standing.kept()) return response;
    std::vector<StoredResponse::Item> kept;
    for (const ResponseItem& item : items) {
      kept.push_back({item.id, item_json(item, head().options)});
    }
    keep_(std::move(kept), response);
    return response;
  }

  // The response; `items` is its output.
  std::string object(const Standing& standing, std::string_view items) const {
    std::string out = "{\"id\":";
    append_json_string(out, head().id);
    out.append(",\"object\":\"response\",\"created_at\":").append(std::to_string(head().created));
    out.append(",\"status\":\"").append(standing.status).append("\",\"completed_at\":");
    out += standing.status == "completed" ? std::to_string(unix_seconds()) : "null";
    out += ",\"error\":";
    if (standing.error_code.empty()) {
      out += "null";
    } else {
      out.append("{\"code\":\"").append(standing.error_code).append("\",\"message\":");
      append_json_string(out, standing.error);
      out += '}';
    }
    out += ",\"incomplete_details\":";
    out += standing.status == "incomplete" ? "{\"reason\":\"max_output_tokens\"}" : "null";
    out += ",\"model\":";
    append_json_string(out, head().model);
    out.append(",\"output\":").append(items).append(",\"usage\":");
    if (standing.usage != nullptr) {
      append_response_usage(out, *standing.usage);
    } else {
      out += "null";
    }
    out.append(",").append(echo_).append("}");
    return out;
  }

  void append_event(std::string& out, std::string_view type, std::string_view response) {
    events_.begin(out, type);
    out.append(",\"response\":").append(response);
    events_.end(out);
  }

  const std::string echo_;
  const KeepResponse keep_;
  // Of a stream. A response has one choice, so that its events come from one thread at a time.
  EventWriter events_;
  ItemStream stream_{events_, head().options};
  FinishReason finish_reason_ = FinishReason::kNone;
};

}  // namespace

std::unique_ptr<AnswerFormat> make_responses_format(AnswerHead head, std::string echo,
                                                    KeepResponse keep) {
  return std::make_unique<ResponsesFormat>(std::move(head), std::move(echo), std::move(keep));
}

}  // namespace octavo::serve
