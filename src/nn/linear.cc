// Linear, Embedding, LmHead: see the header. The work is in naming parameters and cutting a fused
// weight into the checkpoint's tensors; the arithmetic is the backend's.
#include "nn/linear.h"

namespace octavo {
namespace {

constexpr int64_t kConcurrentRows = 64;  // LinearWeight's promise for concurrent writers

Parameter matrix_parameter(const std::string& name, LinearWeight* weight) {
  return {.name = name,
          .shape = {weight->spec().out_features, weight->spec().in_features},
          .load_rows = [weight](int64_t row, const Tensor& src) { weight->load_rows(row, src); },
          .load_noise =
              [weight](uint64_t key) {
                return weight->load_noise(0, weight->spec().out_features, key);
              }};
}

}  // namespace

Linear::Linear(Backend& backend, DType dtype, int64_t in_features, std::vector<Part> parts,
               LinearOptions options)
    : parts_(std::move(parts)), options_(options) {
  int64_t out_features = 0;
  for (const Part& part : parts_) {
    if (out_features % kConcurrentRows != 0 && !load_mutex_)
      load_mutex_ = std::make_unique<std::mutex>();
    out_features += part.rows;
  }
  weight_ = backend.make_linear_weight({.out_features = out_features,
                                        .in_features = in_features,
                                        .dtype = dtype,
                                        .gated = options_.activation == Activation::kSwiGlu});
  if (options_.bias) bias_ = backend.make_vector_weight(out_features);
}

StepTensor Linear::product(ForwardContext& ctx, LinearArgs args) const {
  const int64_t rows = weight_->spec().out_features;
  const bool gated = options_.activation == Activation::kSwiGlu;
  StepTensor out = ctx.allocate({args.x.dim(0), gated ? rows / 2 : rows});
  args.weight = weight_.get();
  args.bias = bias_.get();
  args.activation = options_.activation;
  args.out = out;
  ctx.backend->linear(args);
  return out;
}

StepTensor Linear::operator()(ForwardContext& ctx, const Tensor& x, const Tensor& residual) const {
  return product(ctx, {.x = x, .residual = residual});
}

StepTensor Linear::operator()(ForwardContext& ctx, const RmsNorm& norm, const Tensor& x) const {
  if (!ctx.backend->normalises_in_linear(weight_->spec(), x.dim(0)))
    return product(ctx, {.x = norm(ctx, x)});
  return product(ctx, {.x = x, .norm = norm.weight(), .norm_eps = norm.eps()});
}

Parameter Linear::weight_parameter(std::string name, int64_t first, int64_t rows) const {
  LinearWeight* weight = weight_.get();
  std::mutex* mutex = load_mutex_.get();
  const bool transposed = options_.transposed;
  const int64_t in_features = weight->spec().in_features;
  Parameter p{.name = std::move(name)};
  p.shape = transposed ? Shape{in_features, rows} : Shape{rows, in_features};
  p.load_rows = [weight, mutex, transposed, first](int64_t row, const Tensor& src) {
    std::unique_lock<std::mutex> lock;
    if (mutex != nullptr) lock = std::unique_lock(*mutex);
    if (transposed) {
      weight->load_transposed(row, first, src);
    } else {
      weight->load_rows(first + row, src);
    }
  };
  if (!transposed) {
    p.load_noise = [weight, first, rows](uint64_t key) {
      return weight->load_noise(first, rows, key);
    };
  }
  return p;
}

void Linear::for_each_parameter(const std::string& prefix, const ParameterVisitor& visit) const {
  int64_t first = 0;
  for (const Part& part : parts_) {
    visit(weight_parameter(prefix + part.name + ".weight", first, part.rows));
    if (bias_) {
      visit({.name = prefix + part.name + ".bias",
             .shape = {part.rows},
             .load_rows = [bias = bias_.get(), first](
                              int64_t row, const Tensor& src) { bias->load(first + row, src); },
             .constant = true,
             .fill = 0});
    }
    first += part.rows;
  }
}

Embedding::Embedding(Backend& backend, DType dtype, int64_t entries, int64_t hidden)
    : weight_(backend.make_linear_weight(
          {.out_features = entries, .in_features = hidden, .dtype = dtype})) {}

StepTensor Embedding::operator()(ForwardContext& ctx, const Embedding* positions) const {
  StepTensor out = ctx.allocate({ctx.batch->tokens.dim(0), weight_->spec().in_features});
  ctx.backend->embedding({.tokens = ctx.batch->tokens,
                          .table = weight_.get(),
                          .positions = ctx.batch->positions,
                          .position_table = positions ? positions->weight_.get() : nullptr,
                          .out = out});
  return out;
}

void Embedding::for_each_parameter(const std::string& name, const ParameterVisitor& visit) const {
  visit(matrix_parameter(name, weight_.get()));
}

LmHead::LmHead(Backend& backend, const Embedding& embedding, bool tied)
    : weight_(tied ? embedding.weight() : backend.make_linear_weight(embedding.weight()->spec())),
      tied_(tied) {}

Tensor LmHead::operator()(ForwardContext& ctx, const Tensor& hidden) const {
  Tensor out = ctx.backend->allocate(DType::kF32, {hidden.dim(0), weight_->spec().out_features});
  ctx.backend->linear({.x = hidden, .weight = weight_.get(), .out = out});
  return out;
}

void LmHead::for_each_parameter(const std::string& name, const ParameterVisitor& visit) const {
  if (!tied_) visit(matrix_parameter(name, weight_.get()));
}

}  // namespace octavo
