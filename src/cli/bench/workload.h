// The workload of a benchmark: prompts of vLLM's `random` dataset, prompts from a JSONL file, and
// the moments at which requests are sent. Pure functions of their arguments.
//
// The rules are vLLM's; the numbers are not numpy's: all draws come from one std::mt19937_64 seeded
// with --seed, integers by the high half of a 128-bit product, gamma variates by
// std::gamma_distribution. The same build and seed give the same workload.
#pragma once

#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "octavo/sampling_params.h"
#include "octavo/status.h"

namespace octavo::bench {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  // Uniform in [low, high], both included.
  int64_t integer(int64_t low, int64_t high);
  double gamma(double shape, double scale);

 private:
  std::mt19937_64 engine_;
};

struct Prompt {
  std::vector<TokenId> ids;  // may be empty when only `text` is known
  std::string text;
  int input_len = 0;  // tokens
  int output_len = 0;
};

struct RandomDataset {
  int num_prompts = 1000;
  int input_len = 1024;
  int output_len = 128;
  int prefix_len = 0;      // shared by all prompts, in front of input_len
  double input_ratio = 0;  // lengths are drawn from [⌊L(1−r)⌋, ⌈L(1+r)⌉], r in [0, 1)
  double output_ratio = 0;
  int special_tokens =
      0;  // that the server adds to a text prompt; the drawn part is shorter by them
  uint64_t seed = 0;
};

// Prompt i is the shared prefix and then the ids (offset_i + i + j) mod vocab_size, j = 0, 1, …:
// all different, so that no prefix cache helps by chance.
std::vector<Prompt> make_random_prompts(const RandomDataset& spec, int vocab_size);

// Lines {"prompt": "…", "output_tokens": 64}; output_tokens may be missing. At most `limit` of
// them; `output_len` unless it is 0 replaces the file's.
StatusOr<std::vector<Prompt>> read_custom_dataset(const std::string& path, int limit,
                                                  int output_len);

// Seconds at which request 0, 1, … is sent, ascending. `rate` per second; infinite: all at 0. Gaps
// are gamma distributed with shape `burstiness` (1: Poisson), rescaled so that the last request
// goes out at n / rate.
std::vector<double> arrival_times(size_t n, double rate, double burstiness, uint64_t seed);

// "0.2", or {"input": 0.2, "output": 0.1}; each in [0, 1).
Status parse_range_ratio(const std::string& text, RandomDataset& spec);

}  // namespace octavo::bench
