// LLM: offline use in a few lines.
//
//   auto llm = octavo::LLM::create({.model = {.model = "models/octavo-tiny"}});
//   for (const auto& out : *(*llm)->generate({"The capital of France is"}, {.temperature = 0}))
//     std::cout << out.outputs[0].text << "\n";
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "octavo/engine_client.h"

namespace octavo {

class LLM {
 public:
  static StatusOr<std::unique_ptr<LLM>> create(const EngineOptions& options);
  explicit LLM(std::unique_ptr<EngineClient> engine) : engine_(std::move(engine)) {}

  // Completes every prompt with the same parameters; results in the prompts' order, each holding
  // whole texts. A bad prompt fails the call before any work. Blocks; one thread at a time per
  // call, calls may overlap.
  StatusOr<std::vector<RequestOutput>> generate(const std::vector<std::string>& prompts,
                                                const SamplingParams& params);
  StatusOr<std::vector<RequestOutput>> generate_ids(
      const std::vector<std::vector<TokenId>>& prompts, const SamplingParams& params);
  // Renders each conversation with the model's chat template and completes it.
  StatusOr<std::vector<RequestOutput>> chat(const std::vector<ChatPrompt>& conversations,
                                            const SamplingParams& params);

  EngineClient& engine() { return *engine_; }

 private:
  std::unique_ptr<EngineClient> engine_;
};

}  // namespace octavo
