// The Llama-shaped family: pre-norm blocks of grouped-query attention with rotary positions and a
// SwiGLU MLP. Llama, Mistral, Qwen2 and Qwen3 differ in biases, in norms of q and k, and in the
// sliding window.
#include <vector>

#include "base/status_macros.h"
#include "models/families.h"
#include "nn/attention.h"
#include "nn/linear.h"
#include "nn/norm.h"

namespace octavo {
namespace {

// What the members of the family do differently.
struct Variant {
  bool qkv_bias = false;
  bool output_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;
};

StatusOr<Variant> variant_of(const ModelConfig& c) {
  Variant v;
  const bool attention_bias = config_flag(c, "attention_bias");
  const bool mlp_bias = config_flag(c, "mlp_bias");
  if (c.architecture == "LlamaForCausalLM") {
    v = {.qkv_bias = attention_bias, .output_bias = attention_bias, .mlp_bias = mlp_bias};
  } else if (c.architecture == "Qwen2ForCausalLM") {
    v = {.qkv_bias = true};
  } else if (c.architecture == "Qwen3ForCausalLM") {
    v = {.qkv_bias = attention_bias, .output_bias = attention_bias, .qk_norm = true};
  }
  if (mlp_bias && !v.mlp_bias) return unimplemented(c.architecture + ": mlp_bias is not supported");
  if (attention_bias && !v.qkv_bias) {
    return unimplemented(c.architecture + ": attention_bias is not supported");
  }
  if (c.hidden_act != "silu" && c.hidden_act != "swish") {
    return unimplemented(c.architecture + ": hidden_act '" + c.hidden_act + "' is not supported");
  }
  return v;
}

struct Block {
  RmsNorm input_norm;
  Linear qkv;
  Attention attention;
  Linear output;
  RmsNorm post_norm;
  Linear gate_up;
  Linear down;

  Block(const ModelConfig& c, const Variant& v, int layer, const Rope& rope, DType dtype,
        Backend& b)
      : input_norm(b, c.hidden_size, c.norm_eps),
        qkv(b, dtype, c.hidden_size,
            {{"q_proj", int64_t{c.num_heads} * c.head_dim},
             {"k_proj", int64_t{c.num_kv_heads} * c.head_dim},
             {"v_proj", int64_t{c.num_kv_heads} * c.head_dim}},
            {.bias = v.qkv_bias}),
        attention(b, {.num_heads = c.num_heads,
                      .num_kv_heads = c.num_kv_heads,
                      .head_dim = c.head_dim,
                      .layer = layer,
                      .rope = &rope,
                      .qk_norm = v.qk_norm,
                      .norm_eps = c.norm_eps}),
        output(b, dtype, int64_t{c.num_heads} * c.head_dim, {{"o_proj", c.hidden_size}},
               {.bias = v.output_bias}),
        post_norm(b, c.hidden_size, c.norm_eps),
        gate_up(b, dtype, c.hidden_size,
                {{"gate_proj", c.intermediate_size}, {"up_proj", c.intermediate_size}},
                {.bias = v.mlp_bias, .activation = Activation::kSwiGlu}),
        down(b, dtype, c.intermediate_size, {{"down_proj", c.hidden_size}}, {.bias = v.mlp_bias}) {}
};

class LlamaModel : public Model {
 public:
  LlamaModel(const ModelConfig& c, const Variant& v, DType dtype, Backend& b)
      : config_(c),
        rope_(b, c.rope, c.head_dim, c.max_position),
        embed_(b, dtype, c.vocab_size, c.hidden_size),
        norm_(b, c.hidden_size, c.norm_eps),
        head_(c.tie_word_embeddings ? LmHead(embed_)
                                    : LmHead(b, dtype, c.vocab_size, c.hidden_size)) {
    for (int i = 0; i < c.num_layers; ++i) blocks_.emplace_back(c, v, i, rope_, dtype, b);
  }

  std::vector<KvCacheSpec> kv_groups() const override {
    return {{.num_layers = config_.num_layers,
             .num_kv_heads = config_.num_kv_heads,
             .head_dim = config_.head_dim,
             .window = config_.sliding_window}};
  }

  Tensor forward(ForwardContext& ctx) override {
    auto x = embed_(ctx);  // [T, hidden], as all results of a block
    for (const Block& b : blocks_) {
      x = b.output(ctx, b.attention(ctx, b.qkv(ctx, b.input_norm(ctx, x))), x);
      x = b.down(ctx, b.gate_up(ctx, b.post_norm(ctx, x)), x);
    }
    return norm_(ctx, x).release();
  }

  Tensor logits(ForwardContext& ctx, const Tensor& hidden) override { return head_(ctx, hidden); }

  void for_each_parameter(const ParameterVisitor& visit) override {
    embed_.for_each_parameter("model.embed_tokens.weight", visit);
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const std::string layer = "model.layers." + std::to_string(i) + ".";
      const Block& b = blocks_[i];
      b.input_norm.for_each_parameter(layer + "input_layernorm.", visit);
      b.qkv.for_each_parameter(layer + "self_attn.", visit);
      b.attention.for_each_parameter(layer + "self_attn.", visit);
      b.output.for_each_parameter(layer + "self_attn.", visit);
      b.post_norm.for_each_parameter(layer + "post_attention_layernorm.", visit);
      b.gate_up.for_each_parameter(layer + "mlp.", visit);
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
  ASSIGN_OR_RETURN(const Variant variant, variant_of(config));
  return std::unique_ptr<Model>(new LlamaModel(config, variant, dtype, backend));
}

}  // namespace octavo
