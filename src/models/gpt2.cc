// GPT-2: learned positions, LayerNorm, biases everywhere, a GELU MLP, weights stored transposed
// (Conv1D) and a head tied to the embedding.
#include <vector>

#include "models/families.h"
#include "nn/attention.h"
#include "nn/linear.h"
#include "nn/norm.h"

namespace octavo {
namespace {

struct Block {
  LayerNorm norm1;
  Linear qkv;
  Attention attention;
  Linear output;
  LayerNorm norm2;
  Linear up;
  Linear down;

  Block(const ModelConfig& c, int layer, Activation act, DType dtype, Backend& b)
      : norm1(b, c.hidden_size, c.norm_eps),
        qkv(b, dtype, c.hidden_size, {{"attn.c_attn", 3 * int64_t{c.hidden_size}}},
            {.bias = true, .transposed = true}),
        attention(b, {.num_heads = c.num_heads,
                      .num_kv_heads = c.num_kv_heads,
                      .head_dim = c.head_dim,
                      .layer = layer,
                      .last = layer + 1 == c.num_layers}),
        output(b, dtype, c.hidden_size, {{"attn.c_proj", c.hidden_size}},
               {.bias = true, .transposed = true}),
        norm2(b, c.hidden_size, c.norm_eps),
        up(b, dtype, c.hidden_size, {{"mlp.c_fc", c.intermediate_size}},
           {.bias = true, .activation = act, .transposed = true}),
        down(b, dtype, c.intermediate_size, {{"mlp.c_proj", c.hidden_size}},
             {.bias = true, .transposed = true}) {}

  // x with what attention adds; not defined if the last block has nothing more to do.
  StepTensor attend(ForwardContext& ctx, StepTensor x) const {
    const StepTensor heads = attention(ctx, qkv(ctx, norm1(ctx, x)));
    if (!heads.defined()) return {};
    return output(ctx, heads, attention.rows_of(ctx, std::move(x)));
  }
};

class Gpt2Model : public Model {
 public:
  Gpt2Model(const ModelConfig& c, Activation act, DType dtype, Backend& b)
      : config_(c),
        tokens_(b, dtype, c.vocab_size, c.hidden_size),
        positions_(b, dtype, c.max_position, c.hidden_size),
        norm_(b, c.hidden_size, c.norm_eps),
        head_(b, tokens_, /*tied=*/true) {
    for (int i = 0; i < c.num_layers; ++i) blocks_.emplace_back(c, i, act, dtype, b);
  }

  std::vector<KvCacheSpec> kv_groups() const override { return {kv_group_of(config_)}; }

  Tensor forward(ForwardContext& ctx) override {
    auto x = tokens_(ctx, &positions_);  // [T, hidden], as all results of a block
    for (const Block& b : blocks_) {
      x = b.attend(ctx, std::move(x));
      if (!x.defined()) return {};  // no logits are wanted
      x = b.down(ctx, b.up(ctx, b.norm2(ctx, x)), x);
    }
    return norm_(ctx, x).release();
  }

  Tensor logits(ForwardContext& ctx, const Tensor& hidden) override { return head_(ctx, hidden); }

  void for_each_parameter(const ParameterVisitor& visit) override {
    // Checkpoints of the bare GPT2Model, the first ones among them, lack the prefix.
    const std::string prefix = "transformer.";
    const auto visit_both = [&](Parameter p) {
      p.alias = p.name.substr(prefix.size());
      visit(p);
    };
    tokens_.for_each_parameter(prefix + "wte.weight", visit_both);
    positions_.for_each_parameter(prefix + "wpe.weight", visit_both);
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const std::string layer = prefix + "h." + std::to_string(i) + ".";
      const Block& b = blocks_[i];
      b.norm1.for_each_parameter(layer + "ln_1.", visit_both);
      for (const Linear* l : {&b.qkv, &b.output, &b.up, &b.down})
        l->for_each_parameter(layer, visit_both);
      b.norm2.for_each_parameter(layer + "ln_2.", visit_both);
    }
    norm_.for_each_parameter(prefix + "ln_f.", visit_both);
  }

 private:
  ModelConfig config_;
  Embedding tokens_, positions_;
  std::vector<Block> blocks_;
  LayerNorm norm_;
  LmHead head_;
};

}  // namespace

StatusOr<std::unique_ptr<Model>> make_gpt2(const ModelConfig& config, DType dtype,
                                           Backend& backend) {
  const std::string& act = config.hidden_act;
  const bool tanh = act == "gelu_new" || act == "gelu_pytorch_tanh";
  if (!tanh && act != "gelu") return unsupported_setting(config, "activation_function");
  if (!config.tie_word_embeddings) return unsupported_setting(config, "tie_word_embeddings");
  if (!config_flag(config, "scale_attn_weights", true)) {
    return unsupported_setting(config, "scale_attn_weights");
  }
  if (config.num_kv_heads != config.num_heads ||
      config.num_heads * config.head_dim != config.hidden_size) {
    return unimplemented("GPT2LMHeadModel: heads that do not share n_embd evenly");
  }
  const Activation activation = tanh ? Activation::kGeluTanh : Activation::kGelu;
  return std::unique_ptr<Model>(new Gpt2Model(config, activation, dtype, backend));
}

}  // namespace octavo
