// What the sampler has under way for a step: the tokens, and log-probabilities if asked for, that
// its kernels will have written by the time somebody reads them.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "backend/cuda/sampler_memory.h"
#include "ops/sampler.h"

namespace octavo::cuda {

// Where a row's log-probabilities will be.
struct PendingLogprobs {
  int num_top = -1;  // -1: none asked for
  int index = 0;     // of the LogprobResult
  size_t list = 0;   // offset among the lists, bytes
};

// The size of the list of the num_top most likely tokens, as the kernels write it.
size_t list_bytes(int num_top, int vocab);

// Made on the worker thread, read and destroyed on any one.
class CudaPendingTokens final : public PendingTokens {
 public:
  CudaPendingTokens(std::shared_ptr<ResultPool> pool, std::unique_ptr<PendingResults> results,
                    int vocab, size_t num_rows);
  ~CudaPendingTokens() override;

  // One a row; empty if no row asked for any.
  std::vector<PendingLogprobs> logprobs;
  std::vector<TokenId> targets;  // of prompt_logprobs(): the tokens are given

  Status read(std::span<SampledToken> results) override;

 private:
  void add_logprobs(const PendingLogprobs& where, SampledToken& result) const;
  void sort_row(const float* logits, const LogprobResult& found, SampledToken& result) const;

  const std::shared_ptr<ResultPool> pool_;
  std::unique_ptr<PendingResults> results_;
  const int vocab_;
  const size_t num_rows_;
};

}  // namespace octavo::cuda
