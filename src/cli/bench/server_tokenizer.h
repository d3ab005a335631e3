// The server's own tokenizer, reached over HTTP, and text prompts of an exact length made with it.
// vLLM's routes
// (`prompt`, `tokens`) and llama.cpp's (`content`) are both understood. Blocking; one thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/bench/http_call.h"
#include "cli/bench/workload.h"
#include "octavo/status.h"

namespace octavo::bench {

class ServerTokenizer {
 public:
  ServerTokenizer(const Endpoint& endpoint, std::string model)
      : caller_(endpoint), model_(std::move(model)) {}

  StatusOr<std::vector<TokenId>> tokenize(const std::string& text, bool add_special_tokens);
  StatusOr<std::string> detokenize(const std::vector<TokenId>& ids);
  // Tokens that the server puts around a text by itself.
  StatusOr<int> special_tokens();
  // One more than the largest id that decodes to something, found by bisection.
  StatusOr<int> vocab_size();

 private:
  HttpCaller caller_;
  std::string model_;
};

// Turns each prompt's ids into text that the server tokenizes into input_len ids: decode, encode,
// cut or pad, up to ten times as vLLM does; input_len becomes the length that was reached.
Status realign_prompts(ServerTokenizer& tokenizer, int vocab_size, uint64_t seed,
                       std::vector<Prompt>& prompts,
                       const std::function<void(size_t done)>& on_progress);

// The first model of /v1/models.
StatusOr<std::string> first_model(const Endpoint& endpoint);

}  // namespace octavo::bench
