#include "serve/batch.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>

#include "base/clock.h"
#include "base/json_writer.h"
#include "base/status_macros.h"
#include "serve/access/api_key.h"
#include "serve/answer_parsers.h"
#include "serve/errors.h"
#include "serve/random_id.h"
#include "serve/router.h"
#include "serve/server_context.h"

namespace octavo::serve {

namespace {

constexpr std::string_view kUrls[] = {"/v1/chat/completions", "/v1/completions", "/v1/responses",
                                      "/v1/messages"};

// Takes a whole answer; one that nobody gives is a failure once the exchange is let go.
class MemoryExchange final : public HttpExchange {
 public:
  explicit MemoryExchange(std::function<void(HttpResponse)> on_answer)
      : on_answer_(std::move(on_answer)) {}
  ~MemoryExchange() override { answer(error_response(internal_error("There was no answer."))); }

  void respond(HttpResponse response) override { answer(std::move(response)); }
  // Streams are refused before they begin.
  void begin_stream(std::string_view) override {}
  bool write(std::string_view) override { return false; }
  void end_stream() override {}
  void on_gone(std::function<void()> callback) override {
    {
      const std::lock_guard lock(mutex_);
      if (answered_) return;
      if (!gone_) {
        on_gone_ = std::move(callback);
        return;
      }
    }
    callback();
  }

  // The client has left.
  void leave() {
    std::function<void()> callback;
    {
      const std::lock_guard lock(mutex_);
      gone_ = true;
      callback.swap(on_gone_);
    }
    if (callback) callback();
  }

 private:
  void answer(HttpResponse response) {
    std::function<void()> callback;  // holds what holds this exchange; freed after the lock
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(answered_, true)) return;
      callback.swap(on_gone_);
    }
    on_answer_(std::move(response));
  }

  const std::function<void(HttpResponse)> on_answer_;
  std::mutex mutex_;
  std::function<void()> on_gone_;  // guarded, as below
  bool answered_ = false;
  bool gone_ = false;
};

// One line of the input, on its way to a line of the output.
struct Line {
  Value custom_id;  // null: it has none
  std::weak_ptr<MemoryExchange> exchange;
  // Guarded by the batch's mutex.
  bool done = false;
  bool failed = true;
  std::string output;
};

std::string answered_line(const Value& custom_id, const HttpResponse& response) {
  const bool json = response.content_type.starts_with("application/json");
  JsonWriter w;
  w.begin_object().key("id").string("batch_req_" + random_hex(32));
  w.key("custom_id").value(custom_id).key("response").begin_object();
  w.key("status_code").number(response.status);
  w.key("request_id").string("batch-" + random_hex(32)).key("body");
  if (json && !response.body.empty()) {
    w.raw(response.body);
  } else {
    w.string(response.body);
  }
  w.end_object().key("error").null().end_object();
  return std::move(w).take();
}

std::string refused_line(const Value& custom_id, const Status& status) {
  JsonWriter w;
  w.begin_object().key("id").string("batch_req_" + random_hex(32));
  w.key("custom_id").value(custom_id).key("response").null();
  w.key("error").begin_object().key("code").string("invalid_request");
  w.key("message").string(status.message()).end_object().end_object();
  return std::move(w).take();
}

// The request that a line asks for. `custom_id` is set as soon as it is known.
StatusOr<HttpRequest> read_request(const std::string& text, Value& custom_id) {
  ASSIGN_OR_RETURN(const Value line, parse_json(text));
  if (!line.is_dict()) {
    return invalid_argument("A line must be an object, not " + std::string(line.type_name()) + ".");
  }
  const auto string_member = [&line](std::string_view name) -> std::string {
    const Value* value = line.find(name);
    return value != nullptr && value->is_string() ? value->as_string() : "";
  };
  const std::string id = string_member("custom_id");
  if (id.empty()) return invalid_argument("`custom_id` must be a string that is not empty.");
  custom_id = id;
  if (string_member("method") != "POST") return invalid_argument("`method` must be \"POST\".");
  const std::string url = string_member("url");
  if (std::find(std::begin(kUrls), std::end(kUrls), url) == std::end(kUrls)) {
    std::string known;
    for (const std::string_view one : kUrls) known.append(known.empty() ? "" : ", ").append(one);
    return invalid_argument("`url` must be one of " + known + ", not \"" + url + "\".");
  }
  const Value* body = line.find("body");
  if (body == nullptr || !body->is_dict()) return invalid_argument("`body` must be an object.");
  const Value* stream = body->find("stream");
  if (stream != nullptr && *stream == Value(true)) {
    return invalid_argument("`stream` is not possible in a batch: a line holds a whole answer.");
  }
  return HttpRequest{.method = "POST",
                     .path = url,
                     .headers = {{"content-type", "application/json"}},
                     .body = to_json(*body),
                     .remote = "batch",
                     .client = "batch",
                     .arrival = steady_seconds()};
}

// The lines that have been read and not been written, in their order.
class Batch {
 public:
  Batch(Router& router, size_t max_in_flight)
      : router_(router), max_in_flight_(max_in_flight), max_lines_(4 * max_in_flight) {}

  // Whether another line may be read now.
  bool has_room() {
    const std::lock_guard lock(mutex_);
    return in_flight_ < max_in_flight_ && lines_.size() < max_lines_;
  }

  void start(const std::string& text) {
    auto line = std::make_shared<Line>();
    lines_.push_back(line);
    StatusOr<HttpRequest> request = read_request(text, line->custom_id);
    if (!request.ok()) {
      line->output = refused_line(line->custom_id, request.status());
      line->done = true;
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      ++in_flight_;
    }
    auto exchange = std::make_shared<MemoryExchange>([this, line](HttpResponse response) {
      std::string output = answered_line(line->custom_id, response);
      const std::lock_guard lock(mutex_);
      line->output = std::move(output);
      line->failed = response.status != 200;
      line->done = true;
      --in_flight_;
      changed_.notify_one();
    });
    line->exchange = exchange;
    router_.handle(*std::move(request), std::move(exchange));
  }

  bool empty() const { return lines_.empty(); }

  // Waits until there is something to do: the first line is done, or, while there is input, another
  // one may be read. Returns the first line if it is done.
  std::shared_ptr<Line> wait(bool more_input) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      const bool room = in_flight_ < max_in_flight_ && lines_.size() < max_lines_;
      return lines_.empty() || lines_.front()->done || (more_input && room);
    });
    if (lines_.empty() || !lines_.front()->done) return nullptr;
    std::shared_ptr<Line> first = std::move(lines_.front());
    lines_.pop_front();
    return first;
  }

  // Ends what is under way.
  void abandon() {
    for (const auto& line : lines_) {
      if (const auto exchange = line->exchange.lock()) exchange->leave();
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return in_flight_ == 0; });
  }

 private:
  Router& router_;
  const size_t max_in_flight_;
  const size_t max_lines_;
  std::deque<std::shared_ptr<Line>> lines_;  // the calling thread's
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t in_flight_ = 0;  // guarded
};

}  // namespace

StatusOr<BatchResult> run_batch(EngineClient& engine, const ServerOptions& server,
                                const BatchOptions& options) {
  ASSIGN_OR_RETURN(AnswerParsers parsers, choose_parsers(server, engine));
  ASSIGN_OR_RETURN(std::unique_ptr<ApiKeys> no_keys, ApiKeys::load({}, ""));
  ServerContext context(engine, server, std::move(parsers));
  Router router(context, std::move(no_keys));
  const auto places = static_cast<size_t>(std::max(1, engine.model().max_num_seqs));
  Batch batch(router, options.max_in_flight > 0 ? options.max_in_flight : 2 * places);
  BatchResult result;
  Status failure;
  bool more = true;
  while (failure.ok() && (more || !batch.empty())) {
    std::string text;
    while (more && batch.has_room()) {
      more = options.read(text);
      if (more && text.find_first_not_of(" \t\r") != std::string::npos) batch.start(text);
    }
    const std::shared_ptr<Line> line = batch.wait(more);
    if (line == nullptr) continue;
    failure = options.write(line->output);
    ++result.lines;
    if (line->failed) ++result.failed;
    if (options.on_progress) options.on_progress(result.lines);
  }
  if (!failure.ok()) batch.abandon();
  context.pool.join();
  context.long_body_pool.join();
  if (!failure.ok()) return failure;
  return result;
}

}  // namespace octavo::serve
