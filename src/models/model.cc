// The registry of model families, and the refusal of settings that none of them implements.
#include "models/model.h"

#include <algorithm>
#include <array>
#include <new>

#include "base/status_macros.h"
#include "models/families.h"

namespace octavo {
namespace {

constexpr Family kFamilies[] = {
    {.architecture = "LlamaForCausalLM", .make = make_llama, .max_position = 2048},
    {.architecture = "MistralForCausalLM",
     .make = make_llama,
     .max_position = 131072,
     .window = WindowRule::kAlways,
     .sliding_window = 4096},
    {.architecture = "Qwen2ForCausalLM",
     .make = make_llama,
     .max_position = 32768,
     .window = WindowRule::kSwitched},
    {.architecture = "Qwen3ForCausalLM",
     .make = make_llama,
     .max_position = 32768,
     .head_dim = 128,
     .window = WindowRule::kSwitched},
    {.architecture = "GPT2LMHeadModel",
     .make = make_gpt2,
     .max_position = 1024,
     .norm_eps = 1e-5,
     .hidden_act = "gelu_new",
     .mlp_ratio = 4,
     .rope = false,
     .tied = true},
};

// Settings under which our arithmetic is the model's; anything else is refused.
constexpr std::string_view kMustBeAbsent[] = {"quantization_config",
                                              "compression_config",
                                              "vision_config",
                                              "audio_config",
                                              "text_config",
                                              "attention_chunk_size",
                                              "kv_lora_rank",
                                              "q_lora_rank",
                                              "attn_logit_softcapping",
                                              "final_logit_softcapping",
                                              "attn_logit_softcap",
                                              "logit_softcapping",
                                              "query_pre_attn_scalar",
                                              "cross_attention_layers",
                                              "no_rope_layers",
                                              "layers_block_type",
                                              "encoder_layers"};
constexpr std::string_view kMustBeFalse[] = {"is_encoder_decoder",
                                             "add_cross_attention",
                                             "alibi",
                                             "use_alibi",
                                             "parallel_attn",
                                             "use_parallel_residual",
                                             "scale_attn_by_inverse_layer_idx",
                                             "use_qk_norm",
                                             "scale_embedding"};
constexpr std::string_view kMustBeZero[] = {"num_local_experts", "num_experts", "n_routed_experts",
                                            "moe_num_experts", "num_nextn_predict_layers"};
constexpr std::string_view kMustBeOne[] = {
    "pretraining_tp",      "partial_rotary_factor", "rotary_pct",     "attention_multiplier",
    "residual_multiplier", "embedding_multiplier",  "logits_scaling", "logit_scale"};

bool is_number(const Value& value, double wanted) {
  return value.is_number() && value.as_double() == wanted;
}

// `value` lies under `key` somewhere in config.json.
Status unsupported(const ModelConfig& config, std::string_view key, const Value& value) {
  std::string text = to_json(value);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return unimplemented(config.architecture + ": config.json sets " + std::string(key) + " to " +
                       text + ", which Octavo does not support");
}

Status check_rope(const ModelConfig& config) {
  if (config.rope.type != "default" && config.rope.type != "llama3") {
    return unimplemented(config.architecture + ": rope type '" + config.rope.type +
                         "' is not supported (supported: default, llama3)");
  }
  for (std::string_view block : {"rope_parameters", "rope_scaling"}) {
    const Value* rope = config.raw.find(block);
    if (rope == nullptr) continue;
    const Value* partial = rope->find("partial_rotary_factor");
    if (partial && !partial->is_null() && !is_number(*partial, 1)) {
      return unsupported(config, "partial_rotary_factor", *partial);
    }
    const Value* sections = rope->find("mrope_section");
    if (sections && !sections->is_null()) return unsupported(config, "mrope_section", *sections);
  }
  return ok_status();
}

}  // namespace

const Family* find_family(std::string_view architecture) {
  const auto* it = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                [&](const Family& f) { return f.architecture == architecture; });
  return it == std::end(kFamilies) ? nullptr : it;
}

std::vector<std::string> known_architectures() {
  std::vector<std::string> names;
  for (const Family& family : kFamilies) names.emplace_back(family.architecture);
  return names;
}

std::string supported_architectures() {
  std::string text;
  for (const Family& family : kFamilies) {
    if (!text.empty()) text += ", ";
    text += family.architecture;
  }
  return text;
}

Status unsupported_setting(const ModelConfig& config, std::string_view key) {
  const Value* value = config.raw.find(key);
  return unsupported(config, key, value ? *value : Value());
}

KvCacheSpec kv_group_of(const ModelConfig& config) {
  return {.num_layers = config.num_layers,
          .num_kv_heads = config.num_kv_heads,
          .head_dim = config.head_dim,
          .window = config.sliding_window};
}

bool config_flag(const ModelConfig& config, std::string_view key, bool fallback) {
  const Value* value = config.raw.find(key);
  return value != nullptr && value->is_bool() ? value->as_bool() : fallback;
}

Status check_common_features(const ModelConfig& config) {
  if (!config.raw.is_dict()) return ok_status();
  for (const auto& [key, value] : config.raw.as_dict()) {
    if (value.is_null()) continue;
    const auto listed = [&key = key](const auto& list) {
      return std::find(std::begin(list), std::end(list), key) != std::end(list);
    };
    if (listed(kMustBeAbsent) || (listed(kMustBeFalse) && !(value.is_bool() && !value.as_bool())) ||
        (listed(kMustBeZero) && !is_number(value, 0)) ||
        (listed(kMustBeOne) && !is_number(value, 1))) {
      return unsupported(config, key, value);
    }
  }
  return check_rope(config);
}

StatusOr<std::unique_ptr<Model>> make_model(const ModelConfig& config, DType dtype,
                                            Backend& backend) {
  const Family* family = find_family(config.architecture);
  if (family == nullptr) {
    return unimplemented("architecture '" + config.architecture +
                         "' is not supported; supported: " + supported_architectures());
  }
  RETURN_IF_ERROR(check_common_features(config));
  try {
    return family->make(config, dtype, backend);
  } catch (const std::bad_alloc&) {
    return resource_exhausted("no memory for the weights of " + config.architecture);
  }
}

}  // namespace octavo
