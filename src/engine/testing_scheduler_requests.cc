#include "engine/testing_scheduler_requests.h"

#include <numeric>

namespace octavo {
namespace {

std::shared_ptr<const std::vector<TokenId>> prompt_of(int length, int first) {
  std::vector<TokenId> tokens(length);
  std::iota(tokens.begin(), tokens.end(), first);
  for (TokenId& token : tokens) token %= 50;
  return std::make_shared<const std::vector<TokenId>>(std::move(tokens));
}

}  // namespace

RigOptions synchronous() {
  RigOptions options = small_options();
  options.depth = 1;
  return options;
}

Request request_of(int prompt, int max_tokens, SamplingParams params, int first) {
  Request request;
  request.prompt = prompt_of(prompt, first);
  request.params = std::make_shared<const SamplingParams>(std::move(params));
  request.max_tokens = max_tokens;
  return request;
}

std::vector<int> rows_of(const BatchPlan& plan) {
  std::vector<int> rows;
  for (const PlanRow& row : plan.rows) rows.push_back(row.num_tokens);
  return rows;
}

std::vector<TokenId> tokens_of(const SchedulerRig& rig, RequestKey key, int index) {
  std::vector<TokenId> tokens;
  for (const SequenceEvent& event : rig.events) {
    if (event.request == key && event.index == index && event.has_token)
      tokens.push_back(event.token.token);
  }
  return tokens;
}

SequenceEvent last_event(const SchedulerRig& rig, RequestKey key, int index) {
  SequenceEvent last;
  for (const SequenceEvent& event : rig.events) {
    if (event.request == key && event.index == index) last = event;
  }
  return last;
}

std::vector<TokenId> alone(const Request& request, int index) {
  uint64_t history = start_history(request.cache_salt);
  for (const TokenId token : *request.prompt) history = extend_history(history, token);
  std::vector<TokenId> tokens;
  for (int i = 0; i < request.max_tokens; ++i) {
    tokens.push_back(draw_token(history, request.seed + index, 50));
    history = extend_history(history, tokens.back());
  }
  return tokens;
}

}  // namespace octavo
