// The Llama-shaped family: pre-norm blocks of grouped-query attention with rotary positions and a
// SwiGLU MLP. Llama, Mistral, Qwen2 and Qwen3 differ in biases, in norms of q and k, and in the
// sliding window.
#include <vector>

#include "models/families.h"
#include "nn/attention.h"
#include "nn/linear.h"
#include "nn/norm.h"

namespace octavo {
namespace {

// What the members of the family do differently.
struct Variant {
  bool qkv_bias, output_bias, mlp_bias, qk_norm;
};

struct Block {
  NormedLinear qkv;
  Attention attention;
  Linear output;
  NormedLinear gate_up;
  Linear down;

  Block(const ModelConfig& c, const Variant& v, int layer, const Rope& rope, DType dtype,
        Backend& b)
      : qkv(b, dtype, c.norm_eps, c.hidden_size,
            {{"q_proj", int64_t{c.num_heads} * c.head_dim},
             {"k_proj", int64_t{c.num_kv_heads} * c.head_dim},
             {"v_proj", int64_t{c.num_kv_heads} * c.head_dim}},
            {.bias = v.qkv_bias}),
        attention(b, {.num_heads = c.num_heads,
                      .num_kv_heads = c.num_kv_heads,
                      .head_dim = c.head_dim,
                      .layer = layer,
                      .last = layer + 1 == c.num_layers,
                      .rope = &rope,
                      .qk_norm = v.qk_norm,
                      .norm_eps = c.norm_eps}),
        output(b, dtype, int64_t{c.num_heads} * c.head_dim, {{"o_proj", c.hidden_size}},
               {.bias = v.output_bias}),
        gate_up(b, dtype, c.norm_eps, c.hidden_size,
                {{"gate_proj", c.intermediate_size}, {"up_proj", c.intermediate_size}},
                {.bias = v.mlp_bias, .activation = Activation::kSwiGlu}),
        down(b, dtype, c.intermediate_size, {{"down_proj", c.hidden_size}}, {.bias = v.mlp_bias}) {}

  // h with what attention adds; not defined if the last block has nothing more to do.
  Hidden attend(ForwardContext& ctx, Hidden h) const {
    const StepTensor heads = attention(ctx, qkv(ctx, h));
    if (!heads.defined()) return {};
    return output(ctx, heads, attention.rows_of(ctx, std::move(h.x)), &gate_up);
  }
};

class LlamaModel : public Model {
 public:
  LlamaModel(const ModelConfig& c, const Variant& v, DType dtype, Backend& b)
      : config_(c),
        rope_(b, c.rope, c.head_dim, c.max_position),
        embed_(b, dtype, c.vocab_size, c.hidden_size),
        norm_(b, c.hidden_size, c.norm_eps),
        head_(b, embed_, c.tie_word_embeddings) {
    for (int i = 0; i < c.num_layers; ++i) blocks_.emplace_back(c, v, i, rope_, dtype, b);
  }

  std::vector<KvCacheSpec> kv_groups() const override { return {kv_group_of(config_)}; }

  Tensor forward(ForwardContext& ctx) override {
    Hidden h{embed_(ctx)};
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const Block& b = blocks_[i];
      const NormedLinear* next = i + 1 < blocks_.size() ? &blocks_[i + 1].qkv : nullptr;
      h = b.attend(ctx, std::move(h));
      if (!h.x.defined()) return {};  // no logits are wanted
      h = b.down(ctx, b.gate_up(ctx, h), h.x, next);
    }
    return norm_(ctx, h.x).release();
  }

  Tensor logits(ForwardContext& ctx, const Tensor& hidden) override { return head_(ctx, hidden); }

  void for_each_parameter(const ParameterVisitor& visit) override {
    embed_.for_each_parameter("model.embed_tokens.weight", visit);
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const std::string layer = "model.layers." + std::to_string(i) + ".";
      const Block& b = blocks_[i];
      b.qkv.norm().for_each_parameter(layer + "input_layernorm.", visit);
      b.qkv.linear().for_each_parameter(layer + "self_attn.", visit);
      b.attention.for_each_parameter(layer + "self_attn.", visit);
      b.output.for_each_parameter(layer + "self_attn.", visit);
      b.gate_up.norm().for_each_parameter(layer + "post_attention_layernorm.", visit);
      b.gate_up.linear().for_each_parameter(layer + "mlp.", visit);
      b.down.for_each_parameter(layer + "mlp.", visit);
    }
    norm_.for_each_parameter("model.norm.", visit);
    head_.for_each_parameter("lm_head.weight", visit);
  }

 private:
  ModelConfig config_;
  Rope rope_;
  Embedding embed_;
  std::vector<Block> blocks_;
  RmsNorm norm_;
  LmHead head_;
};

}  // namespace

StatusOr<std::unique_ptr<Model>> make_llama(const ModelConfig& config, DType dtype,
                                            Backend& backend) {
  if (config.hidden_act != "silu") return unsupported_setting(config, "hidden_act");
  const bool llama = config.architecture == "LlamaForCausalLM";
  const bool qwen2 = config.architecture == "Qwen2ForCausalLM";
  const bool qwen3 = config.architecture == "Qwen3ForCausalLM";
  const bool bias = (llama || qwen3) && config_flag(config, "attention_bias");
  const Variant variant{.qkv_bias = bias || qwen2,
                        .output_bias = bias,
                        .mlp_bias = llama && config_flag(config, "mlp_bias"),
                        .qk_norm = qwen3};
  return std::unique_ptr<Model>(new LlamaModel(config, variant, dtype, backend));
}

}  // namespace octavo
