#include "serve/openai/render.h"

#include "base/json_writer.h"
#include "base/status_macros.h"
#include "serve/generation_start.h"
#include "serve/openai/chat_prompt.h"
#include "serve/openai/completions.h"
#include "serve/openai/sampling_json.h"
#include "serve/openai/thinking.h"

namespace octavo::serve {

namespace {

// What an engine would refuse, but for the length, which depends on what is made of the answer.
Status check(const ModelInfo& model, const std::vector<TokenId>& token_ids,
             SamplingParams& sampling) {
  RETURN_IF_ERROR(sampling.validate(model.vocab_size, model.max_logprobs));
  if (token_ids.empty()) {
    return invalid_argument("The decoder prompt cannot be empty").with_param("prompt");
  }
  for (const TokenId id : token_ids) {
    if (id >= 0 && id < model.vocab_size) continue;
    return invalid_argument("Token id " + std::to_string(id) + " is out of vocabulary")
        .with_param("prompt");
  }
  return ok_status();
}

// A body for /inference/v1/generate.
Status write_request(JsonWriter& w, const ServerContext& context, const AnswerHead& head,
                     const GenerationFields& fields, std::vector<TokenId> token_ids) {
  const ModelInfo& model = context.engine.model();
  RETURN_IF_ERROR(truncate_prompt(fields, model.max_model_len, token_ids));
  SamplingParams sampling = sampling_after(token_ids, context, head, fields);
  RETURN_IF_ERROR(check(model, token_ids, sampling));
  w.begin_object().key("request_id").string(head.id).key("token_ids").begin_array();
  for (const TokenId id : token_ids) w.number(id);
  w.end_array().key("features").null().key("sampling_params");
  write_sampling_params(w, sampling);
  w.key("model").string(head.model).key("stream").boolean(head.options.stream);
  w.key("stream_options");
  if (head.options.include_usage) {
    w.begin_object().key("include_usage").boolean(true);
    w.key("continuous_usage_stats").boolean(head.options.continuous_usage).end_object();
  } else {
    w.null();
  }
  w.key("cache_salt");
  if (fields.cache_salt.empty()) {
    w.null();
  } else {
    w.string(fields.cache_salt);
  }
  w.key("priority").number(fields.priority.value_or(0));
  w.key("kv_transfer_params").null().end_object();
  return ok_status();
}

}  // namespace

Status render_completions(ServerContext& context, const HttpRequest& request, const Value& body,
                          std::shared_ptr<HttpExchange> exchange) {
  ASSIGN_OR_RETURN(CompletionsRequest fields,
                   parse_completions(body, context.engine.model().default_sampling));
  RETURN_IF_ERROR(context.check_model(fields.model));
  RETURN_IF_ERROR(check_thinking_budget(context.parsers, fields));
  const AnswerHead head = make_head(context, request, fields, "cmpl-");
  ASSIGN_OR_RETURN(std::vector<AnswerPrompt> prompts,
                   make_prompts(context.engine.text(), std::move(fields.prompts), fields));
  JsonWriter w;
  w.begin_array();
  for (AnswerPrompt& prompt : prompts) {
    RETURN_IF_ERROR(write_request(w, context, head, fields, std::move(prompt.token_ids)));
  }
  w.end_array();
  exchange->respond({.body = std::move(w).take()});
  return ok_status();
}

Status render_chat(ServerContext& context, const HttpRequest& request, const Value& body,
                   std::shared_ptr<HttpExchange> exchange) {
  ASSIGN_OR_RETURN(ChatRequest fields, parse_chat(body, context.engine.model().default_sampling));
  ASSIGN_OR_RETURN(PreparedChat chat, prepare_chat(context, fields));
  const AnswerHead head = make_chat_head(context, request, fields, chat, "chatcmpl-");
  JsonWriter w;
  RETURN_IF_ERROR(write_request(w, context, head, fields, std::move(chat.prompt.token_ids)));
  exchange->respond({.body = std::move(w).take()});
  return ok_status();
}

StatusOr<std::string> apply_template(const ServerContext& context, const Value& body) {
  JsonFields fields(body);
  RETURN_IF_ERROR(fields.status());
  ChatPrompt chat;
  read_chat_prompt(fields, chat);
  RETURN_IF_ERROR(fields.status());
  RETURN_IF_ERROR(settle_template(context.options, chat));
  ASSIGN_OR_RETURN(const RenderedChat rendered, context.engine.text().render_chat(chat));
  JsonWriter w;
  w.begin_object().key("prompt").string(rendered.text).end_object();
  return std::move(w).take();
}

}  // namespace octavo::serve
