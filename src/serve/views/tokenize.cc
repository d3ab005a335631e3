#include "serve/views/tokenize.h"

#include "base/json_writer.h"
#include "base/status_macros.h"
#include "serve/errors.h"
#include "serve/json_fields.h"
#include "serve/openai/chat_prompt.h"
#include "serve/openai/openai_request.h"

namespace octavo::serve {

StatusOr<std::string> tokenize(const ServerContext& context, const Value& body) {
  ASSIGN_OR_RETURN(TokenizeRequest fields, parse_tokenize(body));
  RETURN_IF_ERROR(context.check_model(fields.model));
  const Text& text = context.engine.text();
  RenderedChat words;
  if (auto* prompt = std::get_if<std::string>(&fields.input)) {
    words.text = std::move(*prompt);
  } else {
    auto& chat = std::get<ChatPrompt>(fields.input);
    RETURN_IF_ERROR(settle_template(context.options, chat));
    ASSIGN_OR_RETURN(words, text.render_chat(chat));
  }
  ASSIGN_OR_RETURN(const std::vector<TokenId> ids,
                   text.encode(words.text, {.add_special_tokens = fields.add_special_tokens,
                                            .plain = words.from_request}));
  JsonWriter w;
  w.begin_object().key("count").number(static_cast<int64_t>(ids.size()));
  w.key("max_model_len").number(context.engine.model().max_model_len);
  w.key("tokens").begin_array();
  for (const TokenId id : ids) w.number(id);
  w.end_array().key("token_strs");
  if (fields.return_token_strs) {
    w.begin_array();
    for (const TokenId id : ids) w.string(text.token_string(id));
    w.end_array();
  } else {
    w.null();
  }
  w.end_object();
  return std::move(w).take();
}

StatusOr<std::string> detokenize(const ServerContext& context, const Value& body) {
  JsonFields fields(body);
  RETURN_IF_ERROR(fields.status());
  std::string model;
  std::vector<TokenId> ids;
  fields.read("model", model);
  if (!fields.has("tokens")) fields.fail(shape_error("tokens", "Field required"));
  fields.read("tokens", ids);
  for (const TokenId id : ids) {
    if (id < 0) fields.fail(shape_error("tokens", "Input should be greater than or equal to 0"));
  }
  RETURN_IF_ERROR(fields.status());
  RETURN_IF_ERROR(context.check_model(model));
  JsonWriter w;
  w.begin_object().key("prompt").string(context.engine.text().decode(ids, false)).end_object();
  return std::move(w).take();
}

}  // namespace octavo::serve
