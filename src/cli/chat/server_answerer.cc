#include "cli/chat/server_answerer.h"

#include "base/json_writer.h"
#include "base/status_macros.h"

namespace octavo::cli {
namespace {

constexpr size_t kMaxListBytes = 4 << 20;
constexpr size_t kMaxErrorBytes = 64 << 10;
constexpr size_t kMaxEventBytes = 8 << 20;
// A long prompt may keep a slow server silent for minutes before its first token.
constexpr double kSilenceSeconds = 900;

// The message in an error's body, in OpenAI's shape or one of the common others.
std::string error_text(const std::string& body) {
  const StatusOr<Value> parsed = parse_json(body);
  if (!parsed.ok()) return body.substr(0, 200);
  const Value* error = parsed->find("error");
  for (const Value* place : {error, &*parsed}) {
    if (place == nullptr) continue;
    if (place->is_string()) return place->as_string();
    for (const char* name : {"message", "detail"}) {
      const Value* text = place->find(name);
      if (text != nullptr && text->is_string()) return text->as_string();
    }
  }
  return body.substr(0, 200);
}

Status failed(const http::Url& url, int status, const std::string& body) {
  const std::string where = url.to_string() + " answered " + std::to_string(status);
  if (status == 401 || status == 403) {
    return {StatusCode::kUnauthenticated,
            where + ": " + error_text(body) + "; give the key by --api-key or OPENAI_API_KEY"};
  }
  if (status >= 300 && status < 400) return unavailable(where + ": it is somewhere else");
  return unavailable(where + ": " + error_text(body));
}

const std::string* text_of(const Value* dict, std::string_view name) {
  const Value* found = dict == nullptr ? nullptr : dict->find(name);
  return found != nullptr && found->is_string() && !found->as_string().empty() ? &found->as_string()
                                                                               : nullptr;
}

// Takes one event of the stream into the answer. `events` counts those with text.
Status take_event(std::string_view payload, AnswerBuilder& builder, int& events) {
  if (payload == "[DONE]") return {};
  ASSIGN_OR_RETURN(const Value event, parse_json(payload));
  if (event.find("error") != nullptr && !event.find("error")->is_null())
    return unavailable("the server: " + error_text(to_json(event)));
  if (const Value* usage = event.find("usage"); usage != nullptr) {
    const Value* tokens = usage->find("completion_tokens");
    if (tokens != nullptr && tokens->is_int())
      builder.answer().tokens = static_cast<int>(tokens->as_int());
  }
  const Value* choices = event.find("choices");
  if (choices == nullptr || !choices->is_list() || choices->as_list().empty()) return {};
  const Value& choice = choices->as_list()[0];
  const Value* delta = choice.find("delta");
  const std::string* reasoning = text_of(delta, "reasoning");
  if (reasoning == nullptr) reasoning = text_of(delta, "reasoning_content");
  if (reasoning != nullptr) builder.add(*reasoning, true);
  const std::string* content = text_of(delta, "content");
  if (content == nullptr) content = text_of(&choice, "text");
  if (content != nullptr) builder.add(*content, false);
  events += reasoning != nullptr || content != nullptr ? 1 : 0;
  if (const std::string* reason = text_of(&choice, "finish_reason"))
    builder.answer().finish_reason = *reason;
  return {};
}

std::string body_of(const Question& question, const std::string& model) {
  JsonWriter json;
  json.begin_object().key("model").string(model).key("stream").boolean(true);
  json.key("stream_options").begin_object().key("include_usage").boolean(true).end_object();
  if (question.prompt) {
    json.key("prompt").string(*question.prompt);
  } else {
    json.key("messages").begin_array();
    for (const Value& message : question.messages) {
      // Thinking is not sent back: templates leave it out, and some servers refuse the field.
      Value plain = Value::Dict{};
      for (const auto& [name, value] : message.as_dict()) {
        if (name != "reasoning" && name != "reasoning_content") plain.set(name, value);
      }
      json.value(plain);
    }
    json.end_array();
  }
  for (const auto& [name, value] : question.settings.fields()) json.key(name).value(value);
  if (!question.json_schema.is_null()) {
    json.key("response_format").begin_object().key("type").string("json_schema");
    json.key("json_schema").begin_object().key("name").string("answer").key("schema");
    json.value(question.json_schema).end_object().end_object();
  }
  json.end_object();
  return std::move(json).take();
}

}  // namespace

StatusOr<std::unique_ptr<ServerAnswerer>> ServerAnswerer::connect(const Options& options) {
  ASSIGN_OR_RETURN(http::Url base, http::parse_url(options.url));
  while (!base.path.empty() && base.path.back() == '/') base.path.pop_back();
  if (base.path.empty()) base.path = "/v1";
  std::unique_ptr<ServerAnswerer> server(new ServerAnswerer(std::move(base), options.api_key));
  server->model_ = options.model;
  if (options.model.empty()) RETURN_IF_ERROR(server->find_model());
  return server;
}

http::Request ServerAnswerer::request(std::string_view path) const {
  http::Request request{.url = base_};
  request.url.path += path;
  if (!api_key_.empty()) request.headers.emplace_back("Authorization", "Bearer " + api_key_);
  return request;
}

Status ServerAnswerer::find_model() {
  const http::Request list = request("/models");
  ASSIGN_OR_RETURN(const http::Answer answer, http::fetch_whole(list, {}, kMaxListBytes));
  if (answer.head.status != 200) return failed(list.url, answer.head.status, answer.body);
  StatusOr<Value> parsed = parse_json(answer.body);
  if (!parsed.ok()) return parsed.status().with_context(list.url.to_string());
  const Value* data = parsed->find("data");
  const std::string* id = data != nullptr && data->is_list() && !data->as_list().empty()
                              ? text_of(&data->as_list()[0], "id")
                              : nullptr;
  if (id == nullptr) return unavailable(list.url.to_string() + " names no model");
  model_ = *id;
  return {};
}

StatusOr<Answer> ServerAnswerer::answer(const Question& question, int stop_fd,
                                        const OnPiece& on_piece) {
  http::Request post = request(question.prompt ? "/completions" : "/chat/completions");
  post.method = "POST";
  post.headers.emplace_back("Content-Type", "application/json");
  post.headers.emplace_back("Accept", "text/event-stream");
  post.body = body_of(question, model_);

  AnswerBuilder builder(on_piece);
  int http_status = 0, events = 0;
  std::string pending;  // of a stream, what is no whole line yet; of an error, its body
  Status trouble;
  const http::Handlers handlers{.on_head =
                                    [&](const http::Head& head) {
                                      http_status = head.status;
                                      return true;
                                    },
                                .on_body =
                                    [&](std::string_view bytes) {
                                      pending += bytes;
                                      if (http_status != 200)
                                        return pending.size() < kMaxErrorBytes;
                                      http::take_events(pending, [&](std::string_view payload) {
                                        if (trouble.ok())
                                          trouble = take_event(payload, builder, events);
                                      });
                                      if (pending.size() > kMaxEventBytes)
                                        trouble =
                                            unavailable("the server sent an event without end");
                                      return trouble.ok();
                                    }};
  const http::Limits limits{.silence_seconds = kSilenceSeconds, .wake_fd = stop_fd};
  const Status status = http::fetch(post, limits, handlers);
  Answer& answer = builder.answer();
  if (status.code() == StatusCode::kCancelled) {
    answer.stopped = true;
    answer.finish_reason.clear();
  } else {
    RETURN_IF_ERROR(status);
    if (http_status != 200) return failed(post.url, http_status, pending);
    RETURN_IF_ERROR(trouble);
    if (answer.finish_reason.empty() && events == 0)
      return unavailable(post.url.to_string() + " did not answer with a stream");
  }
  if (answer.tokens == 0) answer.tokens = events;
  return std::move(answer);
}

}  // namespace octavo::cli
