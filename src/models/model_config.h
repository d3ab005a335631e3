// ModelConfig: config.json and generation_config.json of a Hugging Face model directory, read into
// native types and checked. Fields that only one family knows stay in `raw`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "nn/rope.h"
#include "octavo/sampling_params.h"
#include "octavo/status.h"
#include "octavo/value.h"
#include "tensor/tensor.h"

namespace octavo {

struct ModelConfig {
  std::string architecture;  // architectures[0]
  int vocab_size = 0;
  int hidden_size = 0;
  int intermediate_size = 0;
  int num_layers = 0;
  int num_heads = 0;
  int num_kv_heads = 0;  // num_heads if not given
  int head_dim = 0;      // hidden_size / num_heads if not given
  int max_position = 0;
  bool tie_word_embeddings = false;
  double norm_eps = 1e-6;
  std::string hidden_act;  // silu, gelu_new, gelu …
  int sliding_window = 0;  // 0: none
  RopeConfig rope;
  DType dtype = DType::kBF16;          // torch_dtype / dtype of the checkpoint
  std::vector<TokenId> eos_token_ids;  // of config.json and generation_config.json together
  std::optional<TokenId> bos_token_id;
  Value raw;  // config.json whole

  // Defaults that generation_config.json sets: repetition_penalty, temperature, top_k, top_p,
  // min_p, max_new_tokens; others as SamplingParams has them.
  SamplingParams default_sampling;
};

// Reads `directory`/config.json and, unless `generation_config` is "vllm", generation_config.json
// (of the same directory for "auto", of that directory otherwise). Errors name the file and the
// field.
StatusOr<ModelConfig> read_model_config(const std::filesystem::path& directory,
                                        const std::string& generation_config = "auto");
// The same from texts, for tests and fuzzers; generation_json may be empty.
StatusOr<ModelConfig> parse_model_config(const std::string& config_json,
                                         const std::string& generation_json);

}  // namespace octavo
