// Log-probabilities of the logits as the model gave them: of one token a row, with its rank, and of
// the most likely tokens.
//
// One pass gives the sum and the rank. For the n most likely, select() finds the n-th greatest
// logit, and if it is shared by more tokens than are wanted, a second one finds the last id; then
// all that is at least that goes to one CTA, which orders them by counting who precedes whom.
#include "backend/cuda/sampler_kernels.h"
#include "backend/cuda/sampler_row.cuh"

namespace octavo::cuda {
namespace {

struct Scan {
  SumOfExp sum;
  float least = kInfinity;  // above -inf
  int greater = 0;          // than the token's
  uint32_t invalid = 0;
  __device__ void merge(const Scan& other) {
    sum.merge(other.sum);
    least = fminf(least, other.least);
    greater += other.greater;
    invalid |= other.invalid;
  }
  __device__ void reduce() {
    sum.reduce();
    least = warp_min(least);
    greater = __reduce_add_sync(kAllLanes, greater);
    invalid = __any_sync(kAllLanes, invalid);
  }
};

struct TopList {
  int count;
  uint64_t entries[kMostTop];  // key of the logit, then ~token: no two are equal
};

// What is among the n most likely: x > value, or x == value up to token `last`.
struct Cut {
  float value = -kInfinity;
  int last = -1;
};

__device__ Cut find_cut(const Part& part, Cluster<>& cluster, Histogram& histogram, int num_top,
                        int vocab, const Scan& all) {
  const Selected nth = select(part, cluster, histogram, num_top, key_of(all.least),
                              key_of(all.sum.max), [](int, float x) { return key_of(x); });
  if (!nth.found) return {};  // all that is above -inf
  const float value = value_of(nth.key);
  if (nth.among == nth.equal) return {value, vocab};
  const auto backwards = [&](int i, float x) {  // 0: not among the equal ones
    return x == value && i < vocab ? static_cast<uint32_t>(vocab - i) : 0u;
  };
  const Selected last =
      select(part, cluster, histogram, nth.among, 1u, static_cast<uint32_t>(vocab), backwards);
  return {value, vocab - static_cast<int>(last.key)};
}

__device__ void write_top(const LogprobRow& row, const TopList& list, float maximum,
                          float log_sum) {
  auto* top = static_cast<TopEntry*>(row.top);
  const int count = list.count;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) {
    const uint64_t own = list.entries[i];
    int rank = 0;
    for (int j = 0; j < count; ++j) rank += list.entries[j] > own;
    const float x = value_of(static_cast<uint32_t>(own >> 32));
    top[rank] = {static_cast<int32_t>(~static_cast<uint32_t>(own)), (x - maximum) - log_sum};
  }
}

__global__ void __launch_bounds__(kThreads, kCtasPerSm)
    logprobs_kernel(const __grid_constant__ LogprobRows rows, int vocab, const SlotState* slots,
                    uint32_t call) {
  __shared__ Exchange exchange;
  __shared__ Histogram histogram;
  __shared__ TopList list;  // in use in the first CTA
  Cluster cluster(exchange);
  if (threadIdx.x == 0) list.count = 0;
  sm90::let_next_start();
  sm90::wait_for_previous();
  const LogprobRow& row = rows.row[blockIdx.x / kClusterSize];
  const int token = row.token < 0 ? slots[~row.token].last_token : row.token;
  const bool in_vocabulary = token < vocab;
  const float own = in_vocabulary ? row.logits[token] : 0.0f;
  const Part part = part_of(row.logits, vocab);

  Scan all;
  scan<4>(part, [&](int, const float4& x) {
    const float values[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (float v : values) {
      if (!(v < kInfinity)) all.invalid = 1;
      if (v > -kInfinity) all.least = fminf(all.least, v);
      all.greater += v > own;
    }
    all.sum.add(x);
  });
  all = cluster.merge(all);
  const bool valid = in_vocabulary && !all.invalid && all.least < kInfinity;
  const float maximum = all.sum.max, log_sum = logf(all.sum.sum);
  const bool first_cta = blockIdx.x % kClusterSize == 0;

  const bool sends_logits = row.num_top > kMostTop;
  if (valid && sends_logits) {
    auto* out = static_cast<float*>(row.top);
    for (int i = part.begin + static_cast<int>(threadIdx.x); i < part.end; i += kThreads) {
      out[i] = part.row[i];
    }
  } else if (valid && row.num_top > 0) {
    const Cut cut = find_cut(part, cluster, histogram, min(row.num_top, vocab), vocab, all);
    TopList* target = sm90::peer(&list, 0);
    scan<4>(part, [&](int i, const float4& x) {
      const float values[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (values[j] > cut.value || (values[j] == cut.value && i + j <= cut.last)) {
          const int at = atomicAdd(&target->count, 1);
          target->entries[at] = uint64_t{key_of(values[j])} << 32 | ~static_cast<uint32_t>(i + j);
        }
      }
    });
    cluster.sync();
    if (first_cta) write_top(row, list, maximum, log_sum);
  }

  // Everything is in the host's memory before `call` is.
  if (row.num_top > 0) __threadfence_system();
  if (sends_logits) {
    cluster.sync();
  } else {
    __syncthreads();
  }
  if (first_cta && threadIdx.x == 0) {
    auto* out = static_cast<volatile LogprobResult*>(row.result);
    out->logprob = valid ? (own - maximum) - log_sum : 0;
    out->rank = valid ? all.greater + 1 : 0;
    out->maximum = maximum;
    out->log_sum = log_sum;
    out->num_top = !valid ? 0 : sends_logits ? row.num_top : list.count;
    out->invalid = !valid;
    __threadfence_system();
    out->call = call;
  }
}

}  // namespace

void find_logprobs(const Launch& on, const LogprobRows& rows, int vocab, const SlotState* slots,
                   uint32_t call) {
  launch("logprobs", on,
         {.blocks = dim3(static_cast<unsigned>(rows.count * kClusterSize)),
          .threads = dim3(kThreads),
          .cluster = kClusterSize},
         logprobs_kernel, rows, vocab, slots, call);
}

}  // namespace octavo::cuda
