// Model: a family's declaration. It knows its layers, its parameters' names and how they connect;
// it does not know devices, batching, sharding or quantisation. Built and run on the worker thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/model_config.h"
#include "nn/context.h"
#include "nn/parameter.h"
#include "octavo/status.h"

namespace octavo {

class Model {
 public:
  virtual ~Model() = default;

  // One entry per cache group, with num_blocks, block_size and dtype left for the caller.
  virtual std::vector<KvCacheSpec> kv_groups() const = 0;
  // Hidden states after the final norm: of every token of the batch [T, hidden], or where it
  // narrows (Batch::wanted_groups) of those whose logits are wanted; not defined if none are.
  virtual Tensor forward(ForwardContext& ctx) = 0;
  // Logits of each row of `hidden` [R, hidden], which the caller gathered: [R, vocab] float32.
  virtual Tensor logits(ForwardContext& ctx, const Tensor& hidden) = 0;
  virtual void for_each_parameter(const ParameterVisitor& visit) = 0;
};

// Builds the model of config.architecture with weights of dtype `dtype`, not yet filled. Refuses an
// unknown architecture, and any setting of the config that the family does not implement, by name.
StatusOr<std::unique_ptr<Model>> make_model(const ModelConfig& config, DType dtype,
                                            Backend& backend);
// Names that make_model knows.
std::vector<std::string> known_architectures();

}  // namespace octavo
