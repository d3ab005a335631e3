#include "serve/openai/chat_batch.h"

#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "serve/errors.h"
#include "serve/json_fields.h"
#include "serve/openai/completions.h"

namespace octavo::serve {

namespace {

constexpr size_t kMaxConversations = 1024;  // as many as prompts of a completion
// What stands beside the messages is read once for each conversation; so many bytes in all.
constexpr size_t kMaxSharedBytes = size_t{64} << 20;

// The answers of all conversations on their way to one exchange. Any thread.
class Gathering : public std::enable_shared_from_this<Gathering> {
 public:
  Gathering(std::shared_ptr<HttpExchange> exchange, size_t count)
      : exchange_(std::move(exchange)), answers_(count), on_gone_(count), missing_(count) {}

  void start() {
    exchange_->on_gone([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->abandon();
    });
  }

  void answer(size_t index, HttpResponse response) {
    StatusOr<Value> body = parse_json(response.body);
    if (response.status != 200 || !body.ok()) return fail(std::move(response));
    {
      const std::lock_guard lock(mutex_);
      if (ended_) return;
      on_gone_[index] = nullptr;
      answers_[index] = *std::move(body);
      if (--missing_ > 0) return;
      ended_ = true;
    }
    exchange_->respond({.body = to_json(gathered())});
  }

  // The answer is this failure; the others are no longer wanted.
  void fail(HttpResponse response) {
    if (!abandon()) return;
    exchange_->respond(std::move(response));
  }

  void on_gone(size_t index, std::function<void()> callback) {
    {
      const std::lock_guard lock(mutex_);
      if (!ended_) {
        on_gone_[index] = std::move(callback);
        return;
      }
    }
    callback();
  }

 private:
  // Ends what is under way. False if all had ended.
  bool abandon() {
    std::vector<std::function<void()>> callbacks;
    {
      const std::lock_guard lock(mutex_);
      if (ended_) return false;
      ended_ = true;
      callbacks = std::move(on_gone_);
    }
    for (const auto& callback : callbacks) {
      if (callback) callback();
    }
    return true;
  }

  // The first answer, with the choices and the usage of all.
  Value gathered() {
    Value out = std::move(answers_.front());
    Value& usage = *out.find("usage");
    Value::List& choices = out.find("choices")->as_list();
    for (size_t i = 1; i < answers_.size(); ++i) {
      Value& choice = answers_[i].find("choices")->as_list().front();
      choice.set("index", static_cast<int64_t>(i));
      choices.push_back(std::move(choice));
      for (const char* name : {"prompt_tokens", "completion_tokens", "total_tokens"}) {
        usage.set(name,
                  usage.find(name)->as_int() + answers_[i].find("usage")->find(name)->as_int());
      }
    }
    // What else is there is of one conversation.
    for (const char* name : {"prompt_tokens_details", "completion_tokens_details"}) {
      if (usage.find(name) != nullptr) usage.set(name, nullptr);
    }
    for (const char* name :
         {"prompt_token_ids", "prompt_text", "prompt_logprobs", "timings", "metrics"}) {
      if (out.find(name) != nullptr) out.set(name, nullptr);
    }
    return out;
  }

  const std::shared_ptr<HttpExchange> exchange_;
  std::mutex mutex_;
  std::vector<Value> answers_;                  // guarded, as below, until all are there
  std::vector<std::function<void()>> on_gone_;  // of the conversations not yet answered
  size_t missing_;
  bool ended_ = false;
};

// One conversation's exchange. Nothing streams through it.
class Part final : public HttpExchange {
 public:
  Part(std::shared_ptr<Gathering> gathering, size_t index)
      : gathering_(std::move(gathering)), index_(index) {}

  void respond(HttpResponse response) override { gathering_->answer(index_, std::move(response)); }
  void begin_stream(std::string_view) override {}
  bool write(std::string_view) override { return false; }
  void end_stream() override {}
  void on_gone(std::function<void()> callback) override {
    gathering_->on_gone(index_, std::move(callback));
  }

 private:
  const std::shared_ptr<Gathering> gathering_;
  const size_t index_;
};

Status check_batch(const Value& body) {
  JsonFields fields(body);
  bool stream = false;
  int n = 1;
  fields.read("stream", stream);
  fields.read("n", n);
  if (stream) {
    fields.fail(field_error(
        "stream", "Batch chat completions do not support streaming: leave `stream` out."));
  }
  if (n != 1) {
    fields.fail(
        field_error("n", "Batch chat completions do not support `n > 1`. Please set `n` to 1."));
  }
  if (fields.has("tools")) {
    fields.fail(field_error(
        "tools", "Batch chat completions do not support tools: use /v1/chat/completions."));
  }
  const Value::List* conversations = fields.list("messages");
  if (!fields.status().ok()) return fields.status();
  if (conversations == nullptr) return shape_error("messages", "Field required");
  if (conversations->empty() || conversations->size() > kMaxConversations) {
    return field_error("messages", "`messages` must hold 1 to " +
                                       std::to_string(kMaxConversations) + " conversations, not " +
                                       std::to_string(conversations->size()) + ".");
  }
  for (const Value& conversation : *conversations) {
    if (!conversation.is_list()) {
      return shape_error("messages", "Input should be a list of conversations, which are lists");
    }
  }
  return ok_status();
}

}  // namespace

Status start_chat_batch(ServerContext& context, const HttpRequest& request, const Value& body,
                        std::shared_ptr<HttpExchange> exchange) {
  RETURN_IF_ERROR(check_batch(body));
  const Value::List& conversations = body.find("messages")->as_list();
  Value chat = body;
  chat.set("messages", nullptr);
  if (to_json(chat).size() * conversations.size() > kMaxSharedBytes) {
    return Status(StatusCode::kTooLarge,
                  "What stands beside `messages` is too long for so many conversations: send fewer "
                  "of them at once.")
        .with_param("messages");
  }
  auto gathering = std::make_shared<Gathering>(std::move(exchange), conversations.size());
  gathering->start();
  for (size_t i = 0; i < conversations.size(); ++i) {
    chat.set("messages", conversations[i]);
    const Status started = start_chat(context, request, chat, std::make_shared<Part>(gathering, i));
    if (!started.ok()) {
      gathering->fail(error_response(started));
      break;
    }
  }
  return ok_status();
}

}  // namespace octavo::serve
