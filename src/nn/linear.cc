// Linear, NormedLinear, Embedding, LmHead: see the header. The work is in naming parameters and
// cutting a fused weight into the checkpoint's tensors; the arithmetic is the backend's.
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

LinearArgs Linear::arguments(const Tensor& x, const Tensor& residual) const {
  return {.x = x,
          .weight = weight_.get(),
          .bias = bias_.get(),
          .residual = residual,
          .activation = options_.activation};
}

StepTensor Linear::run(ForwardContext& ctx, LinearArgs args) const {
  const int64_t rows = weight_->spec().out_features;
  const bool gated = options_.activation == Activation::kSwiGlu;
  StepTensor out = ctx.allocate({args.x.dim(0), gated ? rows / 2 : rows});
  args.out = out;
  ctx.backend->linear(args);
  return out;
}

StepTensor Linear::operator()(ForwardContext& ctx, const Tensor& x, const Tensor& residual) const {
  return run(ctx, arguments(x, residual));
}

Hidden Linear::operator()(ForwardContext& ctx, const Tensor& x, const Tensor& residual,
                          const NormedLinear* next) const {
  LinearArgs args = arguments(x, residual);
  Hidden hidden;
  const int parts =
      next ? ctx.backend->carried_norm_parts(args, next->linear().arguments({}, {})) : 0;
  if (parts > 0) {
    hidden.weighted = ctx.allocate({x.dim(0), weight_->spec().out_features});
    hidden.squares = ctx.allocate(DType::kF32, {x.dim(0), parts});
    args.next_norm = next->norm().weight();
    args.weighted = hidden.weighted;
    args.squares_out = hidden.squares;
  }
  hidden.x = run(ctx, args);
  return hidden;
}

NormedLinear::NormedLinear(Backend& backend, DType dtype, double norm_eps, int64_t in_features,
                           std::vector<Linear::Part> parts, LinearOptions options)
    : norm_(backend, in_features, norm_eps),
      linear_(backend, dtype, in_features, std::move(parts), options) {}

StepTensor NormedLinear::operator()(ForwardContext& ctx, const Hidden& hidden) const {
  const Tensor& squares = hidden.squares;
  if (!squares.defined()) return linear_(ctx, norm_(ctx, hidden.x));
  LinearArgs args = linear_.arguments(hidden.weighted, {});
  args.squares = squares;
  args.norm_eps = norm_.eps();
  return linear_.run(ctx, args);
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
