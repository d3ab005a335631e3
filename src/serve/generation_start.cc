#include "serve/generation_start.h"

#include <algorithm>
#include <charconv>

#include "base/clock.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "serve/generation.h"
#include "serve/openai/thinking.h"
#include "serve/random_id.h"
#include "serve/request_origin.h"
#include "serve/running_generations.h"

namespace octavo::serve {

namespace {

constexpr size_t kMaxIdBytes = 512;
constexpr size_t kMaxChoices = 16384;  // of one request: each holds memory from its first step on

// A header goes before the body, and one that is no number is none: a proxy sets it, for clients
// that know nothing of it.
int64_t request_priority(const HttpRequest& request, const GenerationFields& fields) {
  const std::string_view header = request.header("x-vllm-priority");
  const char* const end = header.data() + header.size();
  int64_t value = 0;
  const auto [read_to, error] = std::from_chars(header.data(), end, value);
  if (error == std::errc() && read_to == end) return value;
  return fields.priority.value_or(0);
}

void log_request(const AnswerHead& head, const GenerationFields& fields,
                 const GenerateRequest& request, size_t prompts) {
  const SamplingParams& s = request.sampling;
  std::string line = "Received request " + head.id + ": prompts=" + std::to_string(prompts);
  line += ", prompt_tokens=" + std::to_string(request.prompt_token_ids.size());
  line += ", n=" + std::to_string(s.n) + ", temperature=" + std::to_string(s.temperature);
  line += ", top_p=" + std::to_string(s.top_p) + ", top_k=" + std::to_string(s.top_k);
  line += ", max_tokens=" + (s.max_tokens ? std::to_string(*s.max_tokens) : std::string("none"));
  line += ", seed=" + (s.seed ? std::to_string(*s.seed) : std::string("none"));
  line += std::string(", stream=") + (fields.answer.stream ? "true" : "false");
  log_info("serve", line);
}

std::string answer_id(std::string_view prefix, const HttpRequest& request,
                      const GenerationFields& fields) {
  const std::string_view header = request.header("x-request-id");
  std::string id(prefix);
  if (!header.empty()) return id.append(header);
  if (!fields.request_id.empty()) return id.append(fields.request_id);
  // The answer's header and body are to show that they belong together.
  std::string_view own = request.id;
  if (own.starts_with("req_")) own.remove_prefix(4);
  return own.empty() ? id.append(random_hex(32)) : id.append(own);
}

}  // namespace

AnswerHead make_head(const ServerContext& context, const HttpRequest& request,
                     const GenerationFields& fields, std::string_view id_prefix) {
  AnswerHead head{.id = answer_id(id_prefix, request, fields),
                  .model = fields.model.empty() ? context.model_names.front() : fields.model,
                  .created = unix_seconds(),
                  .options = fields.answer};
  head.options.request_metrics =
      fields.answer.request_metrics && context.options.enable_per_request_metrics;
  const ServerOptions& server = context.options;
  if (head.options.stream && server.enable_force_include_usage) {
    head.options.include_usage = head.options.continuous_usage = true;
  }
  head.options.tokens_as_ids = fields.tokens_as_ids.value_or(server.return_tokens_as_token_ids);
  head.options.stream_interval = std::max(fields.answer.stream_interval, server.stream_interval);
  return head;
}

SamplingParams sampling_after(const std::vector<TokenId>& prompt, const ServerContext& context,
                              const AnswerHead& head, const GenerationFields& fields) {
  const ModelInfo& model = context.engine.model();
  SamplingParams sampling = fields.sampling;
  if (!head.chat && fields.thinking_token_budget) {
    expect_thinking(context.parsers, thinking_of(context, prompt), fields.thinking_token_budget,
                    sampling);
  }
  sampling.max_tokens = resolve_max_tokens(fields, model.default_sampling, model.max_model_len,
                                           static_cast<int>(prompt.size()));
  return sampling;
}

Status start_generation(ServerContext& context, const HttpRequest& request,
                        const GenerationFields& fields, std::unique_ptr<AnswerFormat> format,
                        std::vector<AnswerPrompt> prompts, std::shared_ptr<HttpExchange> exchange) {
  const ModelInfo& model = context.engine.model();
  const AnswerHead& head = format->head();
  if (head.id.size() > kMaxIdBytes) {  // every event of a stream repeats it
    return invalid_argument("The request's id is longer than " + std::to_string(kMaxIdBytes) +
                            " bytes.")
        .with_param("request_id");
  }
  const int64_t priority = request_priority(request, fields);
  std::vector<GenerateRequest> requests;
  requests.reserve(prompts.size());
  for (AnswerPrompt& prompt : prompts) {
    const size_t whole = prompt.token_ids.size();
    RETURN_IF_ERROR(truncate_prompt(fields, model.max_model_len, prompt.token_ids));
    if (!head.chat && fields.answer.echo && prompt.token_ids.size() < whole) {
      prompt.text = context.engine.text().decode(prompt.token_ids, true);
    }
    if (prompt.token_ids.empty()) {
      return invalid_argument("The decoder prompt cannot be empty").with_param("prompt");
    }
    GenerateRequest& to_engine = requests.emplace_back();
    // The client's id need not be unique; the engine's must be.
    to_engine.request_id =
        head.id + "-" + std::to_string(requests.size() - 1) + "-" + random_hex(8);
    to_engine.prompt_token_ids = prompt.token_ids;
    to_engine.sampling = sampling_after(prompt.token_ids, context, head, fields);
    to_engine.priority = priority;
    to_engine.cache_salt = fields.cache_salt;
    to_engine.arrival = request.arrival;
    to_engine.origin = request_origin(request, head.id);
  }
  const auto n = static_cast<size_t>(std::max(fields.sampling.n, 0));
  if (requests.size() > 1 && n > kMaxChoices / requests.size()) {
    return invalid_argument("The prompts times n are more than " + std::to_string(kMaxChoices) +
                            " answers.")
        .with_param("n");
  }
  if (context.options.enable_log_requests)
    log_request(head, fields, requests.front(), requests.size());
  const std::string id = head.id;  // the format goes
  auto generation = std::make_shared<Generation>(context.engine, context.pool, std::move(exchange),
                                                 std::move(format), std::move(prompts));
  if (context.running != nullptr) context.running->add(id, generation);
  generation->start(std::move(requests));
  return ok_status();
}

}  // namespace octavo::serve
