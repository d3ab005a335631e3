// ModelHarness: a model from disk and one sequence at a time through it, without an engine: the
// harness builds the batches and owns the KV cache. For the parity tests. One thread.
#pragma once

#include <algorithm>
#include <filesystem>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "base/status_macros.h"
#include "models/model.h"
#include "octavo/status.h"
#include "weights/loader.h"

namespace octavo::testing {

class ModelHarness {
 public:
  // `backend` outlives the harness.
  static StatusOr<std::unique_ptr<ModelHarness>> load(const std::filesystem::path& directory,
                                                      Backend& backend, DType dtype,
                                                      int threads = 2) {
    ASSIGN_OR_RETURN(ModelConfig config, read_model_config(directory));
    ASSIGN_OR_RETURN(std::unique_ptr<Model> model, make_model(config, dtype, backend));
    ASSIGN_OR_RETURN(const LoadReport report, load_safetensors(directory, *model, threads));
    RETURN_IF_ERROR(backend.weights_loaded());
    std::unique_ptr<ModelHarness> harness(
        new ModelHarness(backend, std::move(config), std::move(model), dtype));
    harness->report_ = report;
    return harness;
  }

  const ModelConfig& config() const { return config_; }
  const LoadReport& report() const { return report_; }

  // Logits after every token, [tokens, vocab]. The sequence is computed in chunks of the sizes
  // given, the last one repeated, in an empty cache whose blocks lie out of order.
  std::vector<float> logits(std::span<const TokenId> tokens, const std::vector<int>& chunks) {
    start_sequence(static_cast<int>(tokens.size()));
    std::vector<float> all;
    int start = 0;
    for (size_t i = 0; start < static_cast<int>(tokens.size()); ++i) {
      const int wanted = chunks[std::min(i, chunks.size() - 1)];
      const int count = std::min(wanted, static_cast<int>(tokens.size()) - start);
      run_chunk(tokens.subspan(static_cast<size_t>(start), static_cast<size_t>(count)), start, all);
      start += count;
    }
    return all;
  }

 private:
  static constexpr int kBlock = 16;

  ModelHarness(Backend& backend, ModelConfig config, std::unique_ptr<Model> model, DType dtype)
      : backend_(backend), config_(std::move(config)), model_(std::move(model)), dtype_(dtype) {}

  void start_sequence(int tokens) {
    const int blocks = (tokens + kBlock - 1) / kBlock;
    caches_.clear();
    for (KvCacheSpec spec : model_->kv_groups()) {
      spec.block_size = kBlock;
      spec.num_blocks = blocks + 1;
      spec.dtype = dtype_;
      caches_.push_back(backend_.make_kv_cache(spec));
    }
    blocks_.resize(static_cast<size_t>(blocks));
    for (int i = 0; i < blocks; ++i)
      blocks_[static_cast<size_t>(i)] = blocks - i;  // block 0 stays unused
  }

  template <typename T>
  Tensor staged(DType dtype, Shape shape, const std::vector<T>& values) {
    const Backend::Staged t = backend_.stage(dtype, shape);
    std::copy(values.begin(), values.end(), static_cast<T*>(t.host.data));
    return t.device;
  }

  void run_chunk(std::span<const TokenId> tokens, int start, std::vector<float>& all) {
    backend_.begin_step();
    const auto count = static_cast<int64_t>(tokens.size());
    std::vector<int32_t> positions(tokens.size());
    std::iota(positions.begin(), positions.end(), start);
    Batch batch;
    batch.tokens = staged<int32_t>(DType::kI32, {count}, {tokens.begin(), tokens.end()});
    batch.positions = staged(DType::kI32, {count}, positions);
    AttentionBatch a;
    a.num_rows = 1;
    a.num_tokens = a.max_query_len = static_cast<int>(count);
    a.max_kv_len = start + a.num_tokens;
    a.num_decode_rows = count == 1 ? 1 : 0;
    a.row_begin = staged<int32_t>(DType::kI32, {2}, {0, a.num_tokens});
    a.kv_len = staged<int32_t>(DType::kI32, {1}, {a.max_kv_len});
    a.positions = batch.positions;
    std::vector<int64_t> slots;
    for (int p : positions)
      slots.push_back(int64_t{blocks_[static_cast<size_t>(p / kBlock)]} * kBlock + p % kBlock);
    a.slot_mapping = staged(DType::kI64, {count}, slots);

    ForwardContext ctx{
        .backend = &backend_, .batch = &batch, .activation = backend_.activation_dtype(dtype_)};
    for (const auto& cache : caches_) {
      // Blocks that the window has left are gone, as they are in the engine.
      std::vector<int32_t> table = blocks_;
      const int window = cache->spec().window;
      for (int b = 0; window > 0 && (b + 1) * kBlock <= start - window + 1; ++b)
        table[static_cast<size_t>(b)] = -1;
      a.block_begin = staged<int32_t>(DType::kI32, {2}, {0, static_cast<int32_t>(table.size())});
      a.blocks = staged(DType::kI32, {static_cast<int64_t>(table.size())}, table);
      batch.groups.push_back(a);
      ctx.caches.push_back(cache.get());
    }
    backend_.send_staged();
    const Tensor hidden = model_->forward(ctx);
    const Tensor logits = model_->logits(ctx, hidden);
    const std::vector<float> read = backend_.read_back(logits);
    all.insert(all.end(), read.begin(), read.end());
  }

  Backend& backend_;
  ModelConfig config_;
  std::unique_ptr<Model> model_;
  DType dtype_;
  LoadReport report_;
  std::vector<std::unique_ptr<KvCache>> caches_;
  std::vector<int32_t> blocks_;
};

}  // namespace octavo::testing
