// Tests of reading config.json: what each family means by it, and what is refused, by name.
#include "models/model_config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/testing_files.h"
#include "models/model.h"
#include "nn/testing_backend.h"

namespace octavo {
namespace {

// A small valid config of `architecture` with further members, which win over the given ones.
std::string config_json(const std::string& architecture, const std::string& more = "") {
  const std::string text =
      R"({"architectures": [")" + architecture + R"("], "vocab_size": 96, "hidden_size": 32,
    "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 64, "hidden_act": "silu", "torch_dtype": "bfloat16")";
  return text + (more.empty() ? "" : ", " + more) + "}";
}

ModelConfig parsed(const std::string& json, const std::string& generation = "") {
  auto config = parse_model_config(json, generation);
  EXPECT_TRUE(config.ok()) << config.status().to_string();
  return config.ok() ? *config : ModelConfig();
}

// The refusal's message, from reading the config or from building the model; empty if there is
// none.
std::string refusal(const std::string& json, const std::string& generation = "") {
  auto config = parse_model_config(json, generation);
  if (!config.ok()) return config.status().to_string();
  testing::TestingBackend backend;
  auto model = make_model(*config, DType::kF32, backend);
  return model.ok() ? "" : model.status().to_string();
}

#define EXPECT_REFUSED(json, part) \
  EXPECT_NE(refusal(json).find(part), std::string::npos) << refusal(json)

TEST(ModelConfig, ReadsTheBundledModel) {
  auto config = read_model_config(octavo::testing::source_dir() / "models/octavo-tiny");
  ASSERT_TRUE(config.ok()) << config.status().to_string();
  EXPECT_EQ(config->architecture, "LlamaForCausalLM");
  EXPECT_EQ(config->vocab_size, 8192);
  EXPECT_EQ(config->head_dim, 64);
  EXPECT_EQ(config->num_kv_heads, 2);
  EXPECT_EQ(config->dtype, DType::kBF16);
  EXPECT_TRUE(config->tie_word_embeddings);
  EXPECT_EQ(config->eos_token_ids, (std::vector<TokenId>{8187, 8185}));
  EXPECT_FALSE(config->bos_token_id.has_value());
}

TEST(ModelConfig, DerivesWhatIsNotGiven) {
  const ModelConfig c =
      parsed(config_json("LlamaForCausalLM", R"("head_dim": null, "num_key_value_heads": null)"));
  EXPECT_EQ(c.head_dim, 8);
  EXPECT_EQ(c.num_kv_heads, 4);
  EXPECT_FALSE(c.tie_word_embeddings);
  EXPECT_EQ(parsed(config_json("Qwen3ForCausalLM")).head_dim, 128);
}

TEST(ModelConfig, ReadsRopeInTheOldKeysAndTheNew) {
  const std::string llama3 = R"("factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 32)";
  const ModelConfig old = parsed(
      config_json("LlamaForCausalLM",
                  R"("rope_theta": 500000.0, "rope_scaling": {"type": "llama3", )" + llama3 + "}"));
  const ModelConfig fresh = parsed(config_json(
      "LlamaForCausalLM",
      R"("rope_parameters": {"rope_theta": 500000, "rope_type": "llama3", )" + llama3 + "}"));
  for (const ModelConfig& c : {old, fresh}) {
    EXPECT_EQ(c.rope.type, "llama3");
    EXPECT_EQ(c.rope.theta, 500000);
    EXPECT_EQ(c.rope.factor, 8);
    EXPECT_EQ(c.rope.original_max_position, 32);
  }
  EXPECT_EQ(parsed(config_json("LlamaForCausalLM", R"("rope_scaling": null)")).rope.theta, 10000);
}

TEST(ModelConfig, ReadsGpt2sOwnNames) {
  const ModelConfig c =
      parsed(R"({"architectures": ["GPT2LMHeadModel"], "vocab_size": 96, "n_embd": 32, "n_head": 4,
    "n_layer": 3, "n_positions": 128, "n_inner": null, "layer_norm_epsilon": 1e-5,
    "activation_function": "gelu_new"})");
  EXPECT_EQ(c.hidden_size, 32);
  EXPECT_EQ(c.num_layers, 3);
  EXPECT_EQ(c.intermediate_size, 128);
  EXPECT_EQ(c.max_position, 128);
  EXPECT_EQ(c.hidden_act, "gelu_new");
  EXPECT_EQ(c.dtype, DType::kF32);
  EXPECT_TRUE(c.tie_word_embeddings);
}

TEST(ModelConfig, SlidingWindowFollowsTheFamily) {
  const auto window = [](const std::string& architecture, const std::string& more) {
    return parsed(config_json(architecture, more)).sliding_window;
  };
  const std::string far = R"("max_position_embeddings": 8192)";
  EXPECT_EQ(window("MistralForCausalLM", R"("sliding_window": 16)"), 16);
  EXPECT_EQ(window("MistralForCausalLM", R"("sliding_window": null)"), 0);
  EXPECT_EQ(window("MistralForCausalLM", far), 4096);
  EXPECT_EQ(window("MistralForCausalLM", R"("sliding_window": 64)"), 0);  // the whole context
  EXPECT_EQ(window("Qwen2ForCausalLM", R"("sliding_window": 16)"), 0);
  EXPECT_EQ(window("Qwen2ForCausalLM", R"("sliding_window": 16, "use_sliding_window": true)"), 0);
  EXPECT_EQ(window("Qwen2ForCausalLM",
                   R"("sliding_window": 16, "use_sliding_window": true, "max_window_layers": 0)"),
            16);
  EXPECT_EQ(window("Qwen3ForCausalLM", R"("sliding_window": 16, "use_sliding_window": true,
                   "layer_types": ["sliding_attention", "sliding_attention"])"),
            16);
}

TEST(ModelConfig, JoinsEndOfSequenceIdsAndSamplingDefaultsOfTheGenerationConfig) {
  const ModelConfig c =
      parsed(config_json("LlamaForCausalLM", R"("eos_token_id": 3, "bos_token_id": 1)"),
             R"({"eos_token_id": [3, 5, 5000], "temperature": 0.6, "top_p": 0.9, "top_k": 20,
                                   "max_new_tokens": 77, "do_sample": true, "min_p": null})");
  EXPECT_EQ(c.eos_token_ids, (std::vector<TokenId>{3, 5}));
  EXPECT_EQ(c.bos_token_id, 1);
  EXPECT_FLOAT_EQ(c.default_sampling.temperature, 0.6f);
  EXPECT_FLOAT_EQ(c.default_sampling.top_p, 0.9f);
  EXPECT_EQ(c.default_sampling.top_k, 20);
  EXPECT_EQ(c.default_sampling.max_tokens, 77);
}

TEST(ModelConfig, RefusesAbsurdNumbersByName) {
  const auto llama = [](const std::string& more) { return config_json("LlamaForCausalLM", more); };
  EXPECT_REFUSED(llama(R"("hidden_size": -32)"), "hidden_size");
  EXPECT_REFUSED(llama(R"("hidden_size": 1e300)"), "hidden_size");
  EXPECT_REFUSED(llama(R"("hidden_size": "32")"), "hidden_size");
  EXPECT_REFUSED(llama(R"("hidden_size": 32.5)"), "hidden_size");
  EXPECT_REFUSED(llama(R"("vocab_size": 99999999999)"), "vocab_size");
  EXPECT_REFUSED(llama(R"("vocab_size": null)"), "vocab_size is missing");
  EXPECT_REFUSED(llama(R"("num_hidden_layers": 0)"), "num_hidden_layers");
  EXPECT_REFUSED(llama(R"("num_key_value_heads": 3)"), "num_key_value_heads");
  EXPECT_REFUSED(llama(R"("num_attention_heads": 6, "num_key_value_heads": 2)"), "multiple");
  EXPECT_REFUSED(llama(R"("head_dim": 7)"), "head_dim");
  EXPECT_REFUSED(llama(R"("rope_theta": 0)"), "rope_theta");
  EXPECT_REFUSED(llama(R"("eos_token_id": "x")"), "eos_token_id");
  EXPECT_REFUSED(llama(R"("torch_dtype": "float8_e4m3fn")"), "dtype");
  EXPECT_REFUSED(
      llama(R"("hidden_size": 131072, "intermediate_size": 1048576, "num_hidden_layers": 1024)"),
      "4 trillion");
  EXPECT_REFUSED(llama(R"("max_position_embeddings": 16777216, "head_dim": 1024)"),
                 "max_position_embeddings");
  EXPECT_REFUSED(llama(R"("rope_scaling": {"rope_type": "llama3", "factor": 8})"),
                 "low_freq_factor");
  EXPECT_REFUSED("[]", "must be a JSON object");
  EXPECT_REFUSED("{", "invalid JSON");
  EXPECT_REFUSED("{}", "architectures");
  EXPECT_NE(
      refusal(llama(""), R"({"temperature": "hot"})").find("generation_config.json: temperature"),
      std::string::npos);
}

TEST(ModelConfig, RefusesFeaturesThatWeLackByName) {
  const auto llama = [](const std::string& more) { return config_json("LlamaForCausalLM", more); };
  EXPECT_EQ(refusal(llama(R"("pretraining_tp": 1, "num_experts": 0, "quantization_config": null)")),
            "");
  EXPECT_REFUSED(llama(R"("quantization_config": {"quant_method": "awq"})"), "quantization_config");
  for (const char* type : {"yarn", "linear", "dynamic", "longrope"}) {
    EXPECT_REFUSED(
        llama(R"("rope_scaling": {"type": ")" + std::string(type) + R"(", "factor": 4.0})"), type);
  }
  EXPECT_REFUSED(llama(R"("rope_parameters": {"full_attention": {"rope_theta": 1e6}})"),
                 "rope type");
  EXPECT_REFUSED(llama(R"("rope_parameters": {"partial_rotary_factor": 0.5})"),
                 "partial_rotary_factor");
  EXPECT_REFUSED(llama(R"("partial_rotary_factor": 0.5)"), "partial_rotary_factor");
  EXPECT_REFUSED(llama(R"("pretraining_tp": 2)"), "pretraining_tp");
  EXPECT_REFUSED(llama(R"("num_local_experts": 8)"), "num_local_experts");
  EXPECT_REFUSED(llama(R"("vision_config": {})"), "vision_config");
  EXPECT_REFUSED(llama(R"("attn_logit_softcapping": 50.0)"), "attn_logit_softcapping");
  EXPECT_REFUSED(llama(R"("hidden_act": "gelu")"), "hidden_act");
  EXPECT_REFUSED(llama(R"("sliding_window": 16)"), "sliding_window");
  EXPECT_REFUSED(llama(R"("layer_types": ["full_attention", "sliding_attention"])"), "layer_types");
  EXPECT_REFUSED(
      config_json("Qwen2ForCausalLM", R"("sliding_window": 16, "use_sliding_window": true,
                 "max_window_layers": 1)"),
      "max_window_layers");
  EXPECT_REFUSED(
      config_json("GPT2LMHeadModel", R"("hidden_act": "relu", "num_key_value_heads": 4)"),
      "activation");
  EXPECT_REFUSED(
      config_json("GPT2LMHeadModel", R"("hidden_act": "gelu_new", "num_key_value_heads": 4,
                 "scale_attn_by_inverse_layer_idx": true)"),
      "scale_attn_by_inverse_layer_idx");
  EXPECT_REFUSED(config_json("MambaForCausalLM"),
                 "'MambaForCausalLM' is not supported; supported: LlamaForCausalLM");
}

TEST(ModelConfig, SaysWhatIsWrongWithADirectory) {
  EXPECT_NE(read_model_config("/nonexistent").status().message().find("is not a directory"),
            std::string::npos);
  const auto empty = std::filesystem::temp_directory_path() / "octavo_no_model";
  std::filesystem::create_directories(empty);
  EXPECT_NE(read_model_config(empty).status().message().find("no config.json"), std::string::npos);
  std::ofstream(empty / "config.json") << config_json("LlamaForCausalLM");
  EXPECT_TRUE(read_model_config(empty).ok());
  EXPECT_FALSE(read_model_config(empty, "/nonexistent").ok());
  std::ofstream(empty / "generation_config.json") << "{broken";
  EXPECT_NE(read_model_config(empty).status().message().find("generation_config.json"),
            std::string::npos);
  EXPECT_TRUE(read_model_config(empty, "vllm").ok());
  std::filesystem::remove_all(empty);
}

TEST(MakeModel, BuildsEveryFamilyItNames) {
  for (const std::string& name : known_architectures()) {
    const bool gpt2 = name == "GPT2LMHeadModel";
    EXPECT_EQ(refusal(config_json(
                  name, gpt2 ? R"("hidden_act": "gelu_new", "num_key_value_heads": 4)" : "")),
              "")
        << name;
  }
}

}  // namespace
}  // namespace octavo
