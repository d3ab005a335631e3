#include "backend/cuda/sampler_pending.h"

#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string>
#include <thread>

#include "base/check.h"
#include "base/rounding.h"
#include "base/status_macros.h"

namespace octavo::cuda {
namespace {

using Clock = std::chrono::steady_clock;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Waits for something that the device writes: spins, then naps, and where that was not enough
// sleeps until the kernels behind it are done. The naps are for steps of a fraction of a
// millisecond, in which the wake-up from a sleep would show; in longer ones they would cost CPU
// time.
class Wait {
 public:
  explicit Wait(cudaEvent_t written) : written_(written) {}
  ~Wait() {
    if (slack_ >= 0) prctl(PR_SET_TIMERSLACK, slack_);
  }
  Wait(const Wait&) = delete;
  Wait& operator=(const Wait&) = delete;

  template <typename Arrived>
  Status until(Arrived&& arrived) {
    while (!arrived()) RETURN_IF_ERROR(pause());
    return ok_status();
  }

 private:
  static constexpr auto kSpin = std::chrono::microseconds(20);
  static constexpr auto kNap = std::chrono::microseconds(30);
  static constexpr auto kNaps = std::chrono::microseconds(400);  // all of them

  Status pause() {
    if (idle_) {
      return device_error(StatusCode::kInternal, "the sampler's results never came", take_error());
    }
    const auto waited = Clock::now() - begin_;
    if (waited < kSpin) {
      __builtin_ia32_pause();
      return ok_status();
    }
    if (waited >= kNaps) {
      cudaEventSynchronize(written_);
      return check();
    }
    if (slack_ < 0) {  // the usual 50 us would more than double a nap
      slack_ = prctl(PR_GET_TIMERSLACK);
      prctl(PR_SET_TIMERSLACK, 1);
    }
    std::this_thread::sleep_for(kNap);
    return ok_status();
  }

  Status check() {
    const cudaError_t error = cudaEventQuery(written_);
    if (error == cudaErrorNotReady) return ok_status();
    if (error != cudaSuccess) {
      // What an event reports came from a kernel, and stays: the context is lost with it.
      return device_error(StatusCode::kUnavailable, cudaGetErrorString(error), take_error());
    }
    idle_ = true;  // what has not arrived by now will not
    return ok_status();
  }

  static Status device_error(StatusCode code, std::string what, const DeviceError& noted) {
    what = "CUDA: " + what;
    if (noted.code != cudaSuccess) {
      what += std::string("; first failed: ") + noted.op + ": " + cudaGetErrorString(noted.code);
    }
    return {code, std::move(what)};
  }

  const cudaEvent_t written_;
  const Clock::time_point begin_ = Clock::now();
  long slack_ = -1;  // the thread's own, once it is changed
  bool idle_ = false;
};

}  // namespace

size_t list_bytes(int num_top, int vocab) {
  if (num_top <= 0) return 0;
  if (num_top <= kMostTop) return sizeof(TopEntry) * static_cast<size_t>(num_top);
  return round_up<size_t>(sizeof(float) * static_cast<size_t>(vocab), 8);
}

CudaPendingTokens::CudaPendingTokens(std::shared_ptr<ResultPool> pool,
                                     std::unique_ptr<PendingResults> results, int vocab,
                                     size_t num_rows)
    : pool_(std::move(pool)), results_(std::move(results)), vocab_(vocab), num_rows_(num_rows) {}

CudaPendingTokens::~CudaPendingTokens() {
  if (results_) pool_->give_back(std::move(results_));
}

Status CudaPendingTokens::read(std::span<SampledToken> results) {
  CHECK(results_ && results.size() == num_rows_);
  Wait wait(results_->written());
  for (size_t i = 0; i < num_rows_; ++i) {
    SampledToken result;
    if (targets.empty()) {
      const int row = static_cast<int>(i);
      RETURN_IF_ERROR(wait.until([&] { return results_->word_arrived(row); }));
      const auto word = static_cast<uint32_t>(results_->words()[i]);
      result.token = static_cast<TokenId>(word & ~kInvalid);
      result.invalid_logits = word & kInvalid;
    } else {
      result.token = targets[i];
    }
    if (!logprobs.empty() && logprobs[i].num_top >= 0) {
      RETURN_IF_ERROR(wait.until([&] { return results_->logprob_arrived(logprobs[i].index); }));
      add_logprobs(logprobs[i], result);
    }
    results[i] = std::move(result);
  }
  pool_->give_back(std::move(results_));
  return ok_status();
}

void CudaPendingTokens::add_logprobs(const PendingLogprobs& where, SampledToken& result) const {
  const LogprobResult& found = results_->logprobs()[where.index];
  result.logprob = found.logprob;
  result.rank = found.rank;
  if (found.invalid) result.invalid_logits = true;
  const std::byte* list = results_->lists() + where.list;
  if (where.num_top > kMostTop) {
    if (!found.invalid) sort_row(reinterpret_cast<const float*>(list), found, result);
    return;
  }
  const auto* top = reinterpret_cast<const TopEntry*>(list);
  result.top.reserve(static_cast<size_t>(found.num_top));
  for (int i = 0; i < found.num_top; ++i) result.top.emplace_back(top[i].token, top[i].logprob);
}

void CudaPendingTokens::sort_row(const float* logits, const LogprobResult& found,
                                 SampledToken& result) const {
  std::vector<TokenId> order;
  for (TokenId i = 0; i < vocab_; ++i) {
    if (logits[i] > -kInfinity) order.push_back(i);
  }
  const size_t count = std::min(order.size(), static_cast<size_t>(found.num_top));
  std::partial_sort(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
      [&](TokenId a, TokenId b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  result.top.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    result.top.emplace_back(order[i], (logits[order[i]] - found.maximum) - found.log_sum);
  }
}

}  // namespace octavo::cuda
