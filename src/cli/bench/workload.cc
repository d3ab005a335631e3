// Draws workloads; vllm.md section 7 has the rules.
#include "cli/bench/workload.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "base/status_macros.h"
#include "octavo/value.h"

namespace octavo::bench {

int64_t Random::integer(int64_t low, int64_t high) {
  const unsigned __int128 span = static_cast<unsigned __int128>(high - low) + 1;
  return low + static_cast<int64_t>((span * engine_()) >> 64);
}

double Random::gamma(double shape, double scale) {
  return std::gamma_distribution<double>(shape, scale)(engine_);
}

std::vector<Prompt> make_random_prompts(const RandomDataset& spec, int vocab_size) {
  Random random(spec.seed);
  std::vector<TokenId> prefix(static_cast<size_t>(spec.prefix_len));
  for (TokenId& id : prefix) id = static_cast<TokenId>(random.integer(0, vocab_size - 1));

  std::vector<Prompt> prompts(static_cast<size_t>(spec.num_prompts));
  const auto draw_length = [&random](double length, double ratio, int least) {
    const auto low = static_cast<int64_t>(std::floor(length * (1 - ratio)));
    const auto high = static_cast<int64_t>(std::ceil(length * (1 + ratio)));
    return static_cast<int>(std::max<int64_t>(random.integer(low, std::max(low, high)), least));
  };
  const int own_len = std::max(spec.input_len - spec.special_tokens, spec.prefix_len > 0 ? 0 : 1);
  for (Prompt& p : prompts)
    p.input_len = draw_length(own_len, spec.input_ratio, spec.prefix_len > 0 ? 0 : 1);
  for (Prompt& p : prompts) p.output_len = draw_length(spec.output_len, spec.output_ratio, 1);
  for (size_t i = 0; i < prompts.size(); ++i) {
    Prompt& p = prompts[i];
    const int64_t offset = random.integer(0, vocab_size - 1) + static_cast<int64_t>(i);
    p.ids = prefix;
    for (int j = 0; j < p.input_len; ++j)
      p.ids.push_back(static_cast<TokenId>((offset + j) % vocab_size));
    p.input_len = static_cast<int>(p.ids.size());
  }
  return prompts;
}

StatusOr<std::vector<Prompt>> read_custom_dataset(const std::string& path, int limit,
                                                  int output_len) {
  std::ifstream file(path);
  if (!file) return not_found("cannot read " + path);
  std::vector<Prompt> prompts;
  std::string line;
  for (int number = 1; std::getline(file, line) && static_cast<int>(prompts.size()) < limit;
       ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = path + ":" + std::to_string(number);
    const auto entry = parse_json(line);
    if (!entry.ok()) return entry.status().with_context(where);
    const Value* text = entry->find("prompt");
    if (text == nullptr || !text->is_string())
      return invalid_argument(where + ": expected {\"prompt\": \"…\"}");
    Prompt prompt;
    prompt.text = text->as_string();
    const Value* tokens = entry->find("output_tokens");
    prompt.output_len = output_len;
    if (output_len == 0) {
      const bool given = tokens != nullptr && tokens->is_int() && tokens->as_int() > 0 &&
                         tokens->as_int() < 1 << 30;
      prompt.output_len = given ? static_cast<int>(tokens->as_int()) : 256;
    }
    prompts.push_back(std::move(prompt));
  }
  if (prompts.empty()) return invalid_argument(path + " holds no prompts");
  return prompts;
}

std::vector<double> arrival_times(size_t n, double rate, double burstiness, uint64_t seed) {
  std::vector<double> times(n, 0.0);
  if (std::isinf(rate) || n == 0) return times;
  Random random(seed);
  double at = 0;
  for (double& time : times) {
    at += std::isinf(burstiness) ? 1 / rate : random.gamma(burstiness, 1 / (rate * burstiness));
    time = at;
  }
  const double scale = at > 0 ? static_cast<double>(n) / rate / at : 0;
  for (double& time : times) time *= scale;
  return times;
}

Status parse_range_ratio(const std::string& text, RandomDataset& spec) {
  ASSIGN_OR_RETURN(const Value value, parse_json(text));
  const Value* input = &value;
  const Value* output = &value;
  if (value.is_dict()) {
    input = value.find("input");
    output = value.find("output");
  }
  for (const Value* ratio : {input, output}) {
    if (ratio == nullptr || !ratio->is_number() || ratio->as_double() < 0 ||
        ratio->as_double() >= 1) {
      return invalid_argument("expected a number in [0, 1), or {\"input\": …, \"output\": …}");
    }
  }
  spec.input_ratio = input->as_double();
  spec.output_ratio = output->as_double();
  return {};
}

}  // namespace octavo::bench
