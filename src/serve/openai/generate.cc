#include "serve/openai/generate.h"

#include <algorithm>

#include "base/status_macros.h"
#include "serve/errors.h"
#include "serve/generation_start.h"
#include "serve/openai/request_fields.h"
#include "serve/openai/thinking.h"

namespace octavo::serve {

namespace {

// The members of sampling_params and, beside them, those of the request that the other dialects
// have on one level with them.
Value flattened(const Value& sampling_params, const Value& body) {
  Value flat = sampling_params;
  for (const std::string_view name :
       {"model", "stream", "stream_options", "request_id", "priority", "cache_salt", "timings",
        "timings_per_token", "include_metrics", "kv_transfer_params", "ec_transfer_params"}) {
    const Value* value = body.find(name);
    flat.set(name, value != nullptr ? *value : Value());
  }
  return flat;
}

void read_token_ids(JsonFields& fields, std::vector<TokenId>& out) {
  if (!fields.has("token_ids")) fields.fail(shape_error("token_ids", "Field required"));
  fields.read("token_ids", out);
  if (fields.status().ok() && out.empty()) {
    fields.fail(shape_error("token_ids", "List should have at least 1 item"));
  }
  if (std::any_of(out.begin(), out.end(), [](TokenId id) { return id < 0; })) {
    fields.fail(field_error("token_ids", "token_ids must not contain negative values"));
  }
}

}  // namespace

StatusOr<TokensRequest> parse_tokens_request(const Value& body, const SamplingParams& defaults) {
  JsonFields fields(body);
  RETURN_IF_ERROR(fields.status());
  TokensRequest out;
  read_token_ids(fields, out.token_ids);
  if (fields.dict("sampling_params") == nullptr) {
    fields.fail(shape_error("sampling_params", "Field required"));
  }
  if (fields.has("features")) {
    fields.fail(field_error("features", "`features` are not supported: this server reads text."));
  }
  RETURN_IF_ERROR(fields.status());
  const Value flat = flattened(*fields.get("sampling_params"), body);
  JsonFields options(flat);
  out.sampling = defaults;
  read_common(options, out);
  options.read("max_tokens", out.max_tokens);
  std::optional<int> logprobs;
  options.read("logprobs", logprobs);
  if (logprobs) options.fail(check_logprobs("logprobs", *logprobs));
  out.answer.logprobs = out.sampling.logprobs = logprobs;
  out.answer.echo = false;
  out.tokens_as_ids = true;
  // Text is made for stop strings alone.
  out.sampling.detokenize = !out.sampling.stop.empty();
  RETURN_IF_ERROR(options.status());
  return out;
}

Status start_generate(ServerContext& context, const HttpRequest& request, const Value& body,
                      std::shared_ptr<HttpExchange> exchange) {
  ASSIGN_OR_RETURN(TokensRequest fields,
                   parse_tokens_request(body, context.engine.model().default_sampling));
  RETURN_IF_ERROR(context.check_model(fields.model));
  RETURN_IF_ERROR(check_thinking_budget(context.parsers, fields));
  if (fields.sampling.structured_output) {
    expect_thinking(context.parsers, thinking_of(context, fields.token_ids),
                    fields.thinking_token_budget, fields.sampling);
  }
  std::vector<AnswerPrompt> prompts(1);
  prompts.front().token_ids = std::move(fields.token_ids);
  auto format = make_generate_format(make_head(context, request, fields, "generate-tokens-"));
  return start_generation(context, request, fields, std::move(format), std::move(prompts),
                          std::move(exchange));
}

}  // namespace octavo::serve
