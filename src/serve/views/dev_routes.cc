#include "serve/views/dev_routes.h"

#include <vector>

#include "base/json_writer.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "serve/errors.h"
#include "serve/json_fields.h"
#include "serve/running_generations.h"

namespace octavo::serve {

namespace {

void write_model(JsonWriter& w, const ModelInfo& model) {
  w.begin_object();
  w.key("name").string(model.name).key("architecture").string(model.architecture);
  w.key("dtype").string(model.dtype).key("device").string(model.device);
  w.key("vocab_size").number(model.vocab_size).key("max_model_len").number(model.max_model_len);
  w.key("num_parameters").number(model.num_parameters);
  w.key("weight_bytes").number(model.weight_bytes);
  w.key("kv_cache_bytes").number(model.kv_cache_bytes).key("block_size").number(model.block_size);
  w.key("num_kv_blocks").number(model.num_kv_blocks);
  w.key("max_num_seqs").number(model.max_num_seqs);
  w.key("max_num_batched_tokens").number(model.max_num_batched_tokens);
  w.key("prefix_caching").boolean(model.prefix_caching).end_object();
}

void write_server(JsonWriter& w, const ServerContext& context) {
  const ServerOptions& options = context.options;
  w.begin_object().key("served_model_names").begin_array();
  for (const std::string& name : context.model_names) w.string(name);
  w.end_array();
  w.key("tool_call_parser").string(context.parsers.tool);
  w.key("reasoning_parser").string(context.parsers.reasoning);
  w.key("enable_auto_tool_choice").boolean(options.enable_auto_tool_choice);
  w.key("default_chat_template_kwargs");
  w.raw(to_json(Value(options.default_chat_template_kwargs)));
  w.key("max_body_bytes").number(static_cast<int64_t>(options.max_body_bytes));
  w.key("stream_interval").number(options.stream_interval);
  w.key("io_threads").number(options.io_threads).end_object();
}

std::string tokenizer_info(const Text& text) {
  StatusOr<Value> parsed = parse_json(text.tokenizer_config());
  Value info = parsed.ok() ? *std::move(parsed) : Value(Value::Dict{});
  if (info.find("tokenizer_class") == nullptr) {
    info.set("tokenizer_class", "PreTrainedTokenizerFast");
  }
  if (text.has_chat_template()) info.set("chat_template", std::string(text.chat_template()));
  return to_json(info);
}

}  // namespace

HttpResponse reset_prefix_cache(ServerContext& context, const HttpRequest& request) {
  if (request.query.find("reset_running_requests=true") != std::string::npos) {
    return error_response(
        field_error("reset_running_requests",
                    "`reset_running_requests` is not supported: end them with /abort_requests, or "
                    "wait until they have ended."));
  }
  log_info("serve", "the prefix cache is reset");
  context.engine.reset_prefix_cache();
  return {.body = "", .content_type = ""};
}

HttpResponse show_server_info(ServerContext& context, const HttpRequest&) {
  JsonWriter w;
  w.begin_object().key("version").string(OCTAVO_VERSION);
  w.key("model");
  write_model(w, context.engine.model());
  w.key("server");
  write_server(w, context);
  w.end_object();
  return {.body = std::move(w).take()};
}

StatusOr<std::string> abort_requests(const ServerContext& context, const Value& body) {
  JsonFields fields(body);
  std::vector<std::string> ids;
  if (fields.list("request_ids") != nullptr) fields.read_strings("request_ids", ids);
  RETURN_IF_ERROR(fields.status());
  context.running->cancel(ids);
  return std::string(R"({"status":"aborted"})");
}

void show_tokenizer_info(ServerContext& context, const HttpRequest&,
                         std::shared_ptr<HttpExchange> exchange) {
  // The file may be large.
  context.pool.post([&context, exchange = std::move(exchange)] {
    exchange->respond({.body = tokenizer_info(context.engine.text())});
  });
}

}  // namespace octavo::serve
