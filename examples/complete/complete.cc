// Completes its arguments: complete MODEL_DIR PROMPT...
//
// Built against an installed Octavo:
//   cmake -S examples/complete -B build/example -DCMAKE_PREFIX_PATH=<prefix> && cmake --build
//   build/example
#include <iostream>

#include "octavo/llm.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: complete MODEL_DIR PROMPT...\n";
    return 2;
  }
  octavo::EngineOptions options;
  options.model.model = argv[1];
  auto llm = octavo::LLM::create(options);
  if (!llm.ok()) {
    std::cerr << llm.status().to_string() << "\n";
    return 1;
  }
  octavo::SamplingParams greedy;
  greedy.temperature = 0;
  greedy.max_tokens = 24;
  const auto answers = (*llm)->generate({argv + 2, argv + argc}, greedy);
  if (!answers.ok()) {
    std::cerr << answers.status().to_string() << "\n";
    return 1;
  }
  for (const octavo::RequestOutput& answer : *answers) {
    std::cout << answer.outputs[0].text << "\n";
  }
}
