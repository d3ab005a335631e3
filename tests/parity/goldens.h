// The golden models of tests/data/goldens: what transformers computed for them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/testing_files.h"
#include "octavo/text.h"
#include "octavo/value.h"

namespace octavo::testing {

constexpr const char* kGoldenModels[] = {"llama", "llama3", "mistral", "qwen2", "qwen3", "gpt2"};

// Ways to cut a golden's tokens into steps; the last size repeats.
inline std::vector<std::vector<int>> golden_chunks(int num_prompt) {
  return {{num_prompt, 1}, {7, 7, 7, 7, 7, 5, 1}, {16}, {1}, {13, 27, 1}};
}

inline std::filesystem::path golden_folder(const std::string& name) {
  return source_dir() / "tests/data/goldens" / name;
}

struct Golden {
  std::vector<TokenId> tokens;
  int num_prompt = 0;
  std::vector<float> logits;  // [tokens, vocab], of a float32 run
  double bfloat16_error = 0;  // norm_error() of transformers' bfloat16 run; 0: not known
};

inline Golden read_golden(const std::string& name) {
  Golden golden;
  const auto json = parse_json(read_file(golden_folder(name) / "golden.json"));
  if (!json.ok()) return golden;
  for (const Value& v : json->find("tokens")->as_list())
    golden.tokens.push_back(static_cast<TokenId>(v.as_int()));
  golden.num_prompt = static_cast<int>(json->find("num_prompt")->as_int());
  if (const Value* error = json->find("bfloat16_error")) golden.bfloat16_error = error->as_double();
  const std::string bytes = read_file(golden_folder(name) / "logits.f32");
  golden.logits.resize(bytes.size() / sizeof(float));
  std::memcpy(golden.logits.data(), bytes.data(), golden.logits.size() * sizeof(float));
  return golden;
}

// |a - b| / |b| as vectors.
inline double norm_error(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - b[i], 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(error / norm);
}

// max|a - b| / max|b|
inline double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, most = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    const double d = std::fabs(static_cast<double>(a[i]) - b[i]);
    error = std::isnan(d) ? INFINITY : std::max(error, d);
    most = std::max(most, std::fabs(static_cast<double>(b[i])));
  }
  return error / most;
}

}  // namespace octavo::testing
