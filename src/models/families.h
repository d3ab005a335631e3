// The table of architectures: one line a family, in model.cc. What config.json may leave out is
// filled with the family's defaults, which are those of transformers' configuration class.
#pragma once

#include <memory>
#include <string_view>

#include "models/model.h"

namespace octavo {

using ModelFactory = StatusOr<std::unique_ptr<Model>> (*)(const ModelConfig&, DType, Backend&);

// What config.json's sliding_window means to a family.
enum class WindowRule {
  kNone,      // the family has none: a window is refused
  kAlways,    // it holds for all layers
  kSwitched,  // only with use_sliding_window, for the layers of max_window_layers or layer_types
              // (Qwen)
};

struct Family {
  std::string_view architecture;  // as in config.json's "architectures"
  ModelFactory make = nullptr;
  int max_position = 0;
  double norm_eps = 1e-6;
  std::string_view hidden_act = "silu";
  int mlp_ratio = 0;  // intermediate_size / hidden_size; 0: must be given
  int head_dim = 0;   // 0: hidden_size / heads
  bool rope = true;
  WindowRule window = WindowRule::kNone;
  int sliding_window = 0;  // where the key is missing; null always means none
  bool tied = false;
};

// Null if there is no such family.
const Family* find_family(std::string_view architecture);
// "LlamaForCausalLM, MistralForCausalLM, …"
std::string supported_architectures();

// One per file.
StatusOr<std::unique_ptr<Model>> make_llama(const ModelConfig& config, DType dtype,
                                            Backend& backend);
StatusOr<std::unique_ptr<Model>> make_gpt2(const ModelConfig& config, DType dtype,
                                           Backend& backend);

// Refuses, by name, settings of config.json that change the arithmetic and that no family here
// implements.
Status check_common_features(const ModelConfig& config);
// The refusal of one setting, by its name and its value in config.json.
Status unsupported_setting(const ModelConfig& config, std::string_view key);
// The one cache group of a model whose layers are alike.
KvCacheSpec kv_group_of(const ModelConfig& config);
// Whether config.json sets a boolean; `fallback` where it is absent or null.
bool config_flag(const ModelConfig& config, std::string_view key, bool fallback = false);

}  // namespace octavo
