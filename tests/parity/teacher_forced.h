// octavo-tiny against its reference: the greedy tokens of 20 prompts, made with transformers.
// Teacher forced: each step is judged given the reference's own tokens before it.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "goldens.h"
#include "model_harness.h"
#include "octavo/value.h"

namespace octavo::testing {

inline std::filesystem::path octavo_tiny_folder() {
  return source_dir() / "models/octavo-tiny";
}

inline Value read_reference() {
  auto parsed = parse_json(read_file(source_dir() / "tests/data/octavo-tiny-reference.json"));
  return parsed.ok() ? *parsed : Value();
}

inline std::vector<TokenId> ids_of(const Value& v) {
  std::vector<TokenId> ids;
  for (const Value& id : v.as_list()) ids.push_back(static_cast<TokenId>(id.as_int()));
  return ids;
}

// What a run said at one generated position.
struct Position {
  std::string prompt;
  int index = 0;
  bool argmax_equal = false;
  double margin = 0;  // the reference's, between its first and second logit
  // Over the tokens that the reference lists, and of the first of them, the chosen one; it lists
  // them for 8 positions.
  bool has_logprobs = false;
  double logprob_error = 0;
  double chosen_logprob_error = 0;
};

inline double log_sum_exp(const float* logits, size_t count) {
  const double top = *std::max_element(logits, logits + count);
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += std::exp(logits[i] - top);
  return top + std::log(sum);
}

inline std::vector<Position> teacher_forced(ModelHarness& harness, size_t max_prompt,
                                            const std::vector<int>& chunks) {
  const auto vocab = static_cast<size_t>(harness.config().vocab_size);
  std::vector<Position> positions;
  const Value reference = read_reference();
  for (const Value& prompt : reference.find("prompts")->as_list()) {
    std::vector<TokenId> tokens = ids_of(*prompt.find("ids"));
    if (tokens.size() > max_prompt) continue;
    const Value& expected = *prompt.find("float32");
    const std::vector<TokenId> greedy = ids_of(*expected.find("ids"));
    const size_t first = tokens.size() - 1;  // its logits choose greedy[0]
    tokens.insert(tokens.end(), greedy.begin(), greedy.end() - 1);
    const std::vector<float> logits = harness.logits(tokens, chunks);
    for (size_t i = 0; i < greedy.size(); ++i) {
      const float* row = logits.data() + (first + i) * vocab;
      Position p{prompt.find("name")->as_string(), static_cast<int>(i)};
      p.argmax_equal = std::max_element(row, row + vocab) - row == greedy[i];
      p.margin = expected.find("margin")->as_list()[i].as_double();
      positions.push_back(p);
      const Value::List& tops = expected.find("top")->as_list();
      if (i >= tops.size()) continue;
      const Value& top = tops[i];
      const double normaliser = log_sum_exp(row, vocab);
      const std::vector<TokenId> ids = ids_of(*top.find("ids"));
      for (size_t k = 0; k < ids.size(); ++k) {
        const double error =
            row[ids[k]] - normaliser - top.find("logprobs")->as_list()[k].as_double();
        const double size = std::isnan(error) ? INFINITY : std::fabs(error);
        Position& last = positions.back();
        last.has_logprobs = true;
        last.logprob_error = std::max(last.logprob_error, size);
        if (ids[k] == greedy[i]) last.chosen_logprob_error = size;
      }
    }
  }
  return positions;
}

}  // namespace octavo::testing
