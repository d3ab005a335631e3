#include "cli/commands/local_answerer.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/status_macros.h"
#include "serve/openai/chat_messages.h"
#include "serve/openai/openai_request.h"
#include "text/parsers/output_parser.h"

namespace octavo::cli {
namespace {

// The outputs of one request, handed from the engine's output thread to the main thread, which
// waits on fd().
class OutputQueue : public StreamSink {
 public:
  OutputQueue() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~OutputQueue() override { close(fd_); }
  int fd() const { return fd_; }

  bool on_output(RequestOutput output) override {
    const std::lock_guard lock(mutex_);
    outputs_.push_back(std::move(output));
    const uint64_t one = 1;
    return write(fd_, &one, sizeof one) == sizeof one;
  }
  std::deque<RequestOutput> take() {
    const std::lock_guard lock(mutex_);
    uint64_t count = 0;
    const ssize_t got = read(fd_, &count, sizeof count);
    static_cast<void>(got);
    return std::exchange(outputs_, {});
  }

 private:
  const int fd_;
  std::mutex mutex_;
  std::deque<RequestOutput> outputs_;
};

void add_events(const std::vector<text::ParseEvent>& events, AnswerBuilder& builder) {
  for (const text::ParseEvent& event : events) {
    if (event.kind == text::ParseEventKind::kContent) builder.add(event.text, false);
    if (event.kind == text::ParseEventKind::kReasoning) builder.add(event.text, true);
  }
}

}  // namespace

StatusOr<std::unique_ptr<LocalAnswerer>> LocalAnswerer::load(EngineOptions options,
                                                             const ModelSource& source) {
  std::unique_ptr<LocalAnswerer> local(new LocalAnswerer());
  ASSIGN_OR_RETURN(local->name_, resolve_engine_paths(options, source));
  ASSIGN_OR_RETURN(local->engine_,
                   make_engine(options, [](const std::string& line) { log_info("engine", line); }));
  serve::ServerOptions parsing;
  parsing.tool_call_parser = "none";  // nobody here offers a tool
  parsing.reasoning_parser = "auto";
  ASSIGN_OR_RETURN(local->parsers_, serve::choose_parsers(parsing, *local->engine_));
  return local;
}

LocalAnswerer::~LocalAnswerer() {
  if (engine_ != nullptr) engine_->shutdown(0);
}

StatusOr<GenerateRequest> LocalAnswerer::request_for(const Question& question,
                                                     std::string& prompt) const {
  GenerateRequest request;
  EncodeOptions encoding;
  RenderedChat chat;
  if (question.prompt) {
    prompt = *question.prompt;
  } else {
    ASSIGN_OR_RETURN(std::vector<Value> messages, serve::normalise_messages(question.messages));
    ASSIGN_OR_RETURN(chat, engine_->text().render_chat({.messages = std::move(messages)}));
    prompt = chat.text;
    encoding = {.add_special_tokens = false, .plain = chat.from_request};
  }
  ASSIGN_OR_RETURN(request.prompt_token_ids, engine_->text().encode(prompt, encoding));
  const ModelInfo& model = engine_->model();
  request.sampling = model.default_sampling;
  // Unless the user says how long, as the server does for a chat: the model's own limit, or none.
  request.sampling.max_tokens =
      serve::resolve_max_tokens({}, model.default_sampling, model.max_model_len,
                                static_cast<int>(request.prompt_token_ids.size()));
  question.settings.apply(request.sampling);
  if (!question.json_schema.is_null()) {
    request.sampling.structured_output = StructuredOutput{
        .kind = StructuredOutput::Kind::kJsonSchema, .text = to_json(question.json_schema)};
  }
  return request;
}

StatusOr<Answer> LocalAnswerer::answer(const Question& question, int stop_fd,
                                       const OnPiece& on_piece) {
  AnswerBuilder builder(on_piece);
  std::string prompt;
  ASSIGN_OR_RETURN(GenerateRequest request, request_for(question, prompt));
  text::OutputParserOptions parsing;
  if (!question.prompt && !parsers_.reasoning.empty()) {
    const bool open =
        text::prompt_thinking(parsers_.reasoning, prompt) == text::PromptThinking::kOpen;
    parsing = {.reasoning_parser = parsers_.reasoning,
               .prompt_ends_inside_thinking = open,
               .hidden_markers = parsers_.special_markers};
    request.sampling.shown_special_tokens = parsers_.special_ids;
    const text::ThinkingMarkers markers = text::thinking_markers(parsers_.reasoning);
    if (request.sampling.structured_output)
      request.sampling.thinking = ThinkingBlock{markers.begin, markers.end, open};
  }
  ASSIGN_OR_RETURN(text::OutputParser parser, text::OutputParser::make(parsing));

  const auto queue = std::make_shared<OutputQueue>();
  ASSIGN_OR_RETURN(const std::string id, engine_->submit(std::move(request), queue));
  Answer& answer = builder.answer();
  for (bool finished = false; !finished;) {
    pollfd watched[2] = {{queue->fd(), POLLIN, 0}, {answer.stopped ? -1 : stop_fd, POLLIN, 0}};
    if (poll(watched, 2, -1) < 0) continue;
    if (watched[1].revents != 0) {
      answer.stopped = true;
      engine_->cancel(id);
    }
    for (const RequestOutput& output : queue->take()) {
      for (const CompletionOutput& part : output.outputs) {
        add_events(parser.feed(part.text), builder);
        answer.tokens = part.num_output_tokens;
        if (part.finished()) answer.finish_reason = to_string(part.finish_reason);
      }
      finished = output.finished;
      if (finished) RETURN_IF_ERROR(output.error);
    }
  }
  add_events(parser.finish(), builder);
  return std::move(answer);
}

}  // namespace octavo::cli
