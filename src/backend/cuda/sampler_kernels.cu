// Drawing one token a row.
//
// Greedy: the first pass finds the greatest logit. Sampled: the first pass finds the winner among
// all tokens, argmax( y + noise ) with y = logit / T, and the sum of exp(y) beside it. That is the
// end without top-k, top-p and min-p. With them the wanted token is the winner among the tokens
// kept, which are the first few in the order by (y descending, id ascending):
//   1. top-k and min-p say from which y on tokens are kept; for top-k select() finds the k-th y.
//   2. Is the winner kept? For top-p a pass adds up the mass before it.
//   3. If not, no token behind it in that order is kept either, and all kept ones are before it:
//      find the winner of those before it, and ask again.
// So a draw from the kept set needs no sorting, and step 3 is rare: with top_p = 0.95 and any
// logits, one row in twenty does it once.
//
// The noise of a token costs two logarithms. It is computed only where a bound on it, added to y,
// reaches the best so far of the warp (sampler_row.cuh, noise_bound).
#include "backend/cuda/sampler_kernels.h"

#include "backend/cuda/sampler_row.cuh"

namespace octavo::cuda {
namespace {

constexpr unsigned kAllLanes = 0xFFFFFFFF;

// One thread of the row's cluster: the token becomes the slot's last one, and goes to the host.
__device__ void finish_row(const DrawRow& row, int token, bool valid, SlotState* slots,
                           const DrawResults& results) {
  // The request has failed; an id that later steps can embed keeps the batch running until it is
  // removed.
  if (!valid) token = 0;
  SlotState& slot = slots[row.slot];
  slot.last_token = token;
  if (slot.history) slot.history[slot.position] = token;
  if (slot.counts) slot.counts[token] += 1;
  slot.position += 1;
  const uint64_t word =
      uint64_t{results.call} << 32 | static_cast<uint32_t>(token) | (valid ? 0 : kInvalid);
  *static_cast<volatile uint64_t*>(results.words + row.result) = word;
}

// --- Greedy.

struct Greatest {
  float value = -kInfinity;
  int token = -1;
  uint32_t invalid = 0;  // a NaN or +inf was seen

  __device__ void add(float x, int i) {
    if (x > value) {
      value = x;
      token = i;
    }
  }
  __device__ void merge(const Greatest& other) {
    if (other.value > value || (other.value == value && other.token < token)) {
      value = other.value;
      token = other.token;
    }
    invalid |= other.invalid;
  }
};

__device__ __forceinline__ bool all_below_infinity(const float4& x) {
  return x.x < kInfinity && x.y < kInfinity && x.z < kInfinity && x.w < kInfinity;
}

__global__ void __launch_bounds__(kThreads, 2)
    greedy_kernel(const __grid_constant__ DrawRows rows, int vocab, SlotState* slots,
                  DrawResults results) {
  __shared__ Exchange exchange;
  Cluster cluster(exchange);
  sm90::let_next_start();
  sm90::wait_for_previous();
  const DrawRow& row = rows.row[blockIdx.x / kClusterSize];
  Greatest best;
  scan<8>(part_of(row.logits, vocab), [&](int i, const float4& x) {
    best.add(x.x, i);
    best.add(x.y, i + 1);
    best.add(x.z, i + 2);
    best.add(x.w, i + 3);
    if (!all_below_infinity(x)) best.invalid = 1;
  });
  best = cluster.merge(best);
  if (blockIdx.x % kClusterSize == 0 && threadIdx.x == 0) {
    finish_row(row, best.token, !best.invalid && best.token >= 0, slots, results);
  }
}

// --- Sampled.

struct Winner {
  float value = -kInfinity;  // y + noise
  float y = 0;
  int token = -1;

  __device__ bool loses_to(float other_value, int other_token) const {
    return other_value > value || (other_value == value && other_token < token);
  }
  __device__ void merge(const Winner& other) {
    if (loses_to(other.value, other.token)) *this = other;
  }
};

// A place in the order by (y descending, id ascending); by default, behind all that is above -inf.
struct Limit {
  float y = -kInfinity;
  int token = 0;
  __device__ bool is_behind(float other_y, int i) const {
    return other_y > y || (other_y == y && i < token);
  }
};

__device__ __forceinline__ float greatest_of_warp(float x) {
  const int bits = __float_as_int(x);
  const int ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF);
  const int most = __reduce_max_sync(kAllLanes, ordered);
  return __int_as_float(most ^ ((most >> 31) & 0x7FFFFFFF));
}

// A thread's search for the winner. `bar` is a value that some token of the warp reaches: where
// y plus the bound is below it, the noise does not matter.
struct Race {
  uint64_t seed;
  uint32_t position;
  Winner best;
  float bar = kLowest;

  // Tokens [i, i + 4), by whole warps; y = -inf takes no part.
  __device__ __forceinline__ void run(int i, const float (&y)[4]) {
    const std::array<uint32_t, 4> words =
        philox4x32_10({static_cast<uint32_t>(i) / 4, position, 0, 0}, philox_key(seed));
    float reach[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) reach[j] = __fadd_rn(y[j], noise_bound(words[j]));
    float most = fmaxf(fmaxf(reach[0], reach[1]), fmaxf(reach[2], reach[3]));
    while (__any_sync(kAllLanes, most >= bar)) {
      if (most >= bar) {
        int at = 3;
        float own = y[3];
        uint32_t word = words[3];
#pragma unroll
        for (int j = 2; j >= 0; --j) {
          if (reach[j] == most) {
            at = j;
            own = y[j];
            word = words[j];
          }
        }
        const float value = __fadd_rn(own, noise_of(word));
        if (best.loses_to(value, i + at)) best = {value, own, i + at};
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          if (j == at) reach[j] = -kInfinity;
        }
        most = fmaxf(fmaxf(reach[0], reach[1]), fmaxf(reach[2], reach[3]));
      }
      bar = fmaxf(bar, greatest_of_warp(best.value));
    }
  }
};

__device__ __forceinline__ void scale(const float4& x, float factor, float (&y)[4]) {
  y[0] = __fmul_rn(x.x, factor);
  y[1] = __fmul_rn(x.y, factor);
  y[2] = __fmul_rn(x.z, factor);
  y[3] = __fmul_rn(x.w, factor);
}

struct FirstPass {
  SumOfExp sum;
  float least = kInfinity;  // above -inf
  uint32_t invalid = 0;
  Winner winner;
  __device__ void merge(const FirstPass& other) {
    sum.merge(other.sum);
    least = fminf(least, other.least);
    invalid |= other.invalid;
    winner.merge(other.winner);
  }
};

struct Masses {
  float before = 0, kept = 0;
  __device__ void merge(const Masses& other) {
    before += other.before;
    kept += other.kept;
  }
};

struct SampledRow {
  Part part;
  float inverse_temperature;
  uint64_t seed;
  uint32_t position;
  float log_min_p, top_p;
  int top_k;

  __device__ bool filtered() const { return top_k > 0 || top_p < 1 || log_min_p > -kInfinity; }

  // The winner only where no top-k will rule almost all tokens out.
  __device__ __forceinline__ FirstPass first_pass() const {
    FirstPass pass;
    Race race{seed, position};
    const bool sums = filtered(), draws = top_k == 0;
    scan<4>(part, [&](int i, const float4& x) {
      float y[4];
      scale(x, inverse_temperature, y);
      const float4 scaled = {y[0], y[1], y[2], y[3]};
      if (!all_below_infinity(scaled)) pass.invalid = 1;
      if (sums) pass.sum.add(scaled);
      if (draws) {
        race.run(i, y);
      } else {
#pragma unroll
        for (float v : y) pass.least = v > -kInfinity ? fminf(pass.least, v) : pass.least;
      }
    });
    pass.winner = race.best;
    return pass;
  }

  // The mass before `limit`, and that from `threshold` up, in units of exp(maximum).
  __device__ __forceinline__ Masses masses(const Limit& limit, float threshold,
                                           float maximum) const {
    Masses sum;
    scan<4>(part, [&](int i, const float4& x) {
      float y[4];
      scale(x, inverse_temperature, y);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float mass = y[j] >= threshold ? exp_of(y[j] - maximum) : 0.0f;
        sum.kept += mass;
        if (limit.is_behind(y[j], i + j)) sum.before += mass;
      }
    });
    return sum;
  }

  __device__ __forceinline__ Winner winner_before(const Limit& limit, float threshold) const {
    Race race{seed, position};
    scan<4>(part, [&](int i, const float4& x) {
      float y[4];
      scale(x, inverse_temperature, y);
      bool any = false;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (y[j] >= threshold && limit.is_behind(y[j], i + j)) {
          any = true;
        } else {
          y[j] = -kInfinity;
        }
      }
      if (__any_sync(kAllLanes, any)) race.run(i, y);
    });
    return race.best;
  }
};

__global__ void __launch_bounds__(kThreads, 2)
    sampled_kernel(const __grid_constant__ DrawRows rows, int vocab, SlotState* slots,
                   DrawResults results) {
  __shared__ Exchange exchange;
  __shared__ Histogram histogram;
  Cluster cluster(exchange);
  sm90::let_next_start();
  sm90::wait_for_previous();
  const DrawRow& row = rows.row[blockIdx.x / kClusterSize];
  const SlotState& slot = slots[row.slot];
  const SampledRow sampled{part_of(row.logits, vocab),
                           slot.inverse_temperature,
                           slot.seed,
                           slot.position,
                           slot.log_min_p,
                           slot.top_p,
                           slot.top_k};

  const FirstPass first = cluster.merge(sampled.first_pass());
  Winner winner = first.winner;
  bool valid = !first.invalid && (sampled.top_k > 0 ? first.least < kInfinity : winner.token >= 0);
  if (valid && sampled.filtered()) {
    const float maximum = first.sum.max;
    float threshold = maximum + sampled.log_min_p;
    if (sampled.top_k > 0) {
      const Selected kth = select(
          sampled.part, cluster, histogram, sampled.top_k, key_of(first.least), key_of(maximum),
          [&](int, float x) { return key_of(__fmul_rn(x, sampled.inverse_temperature)); });
      if (kth.found) threshold = fmaxf(threshold, value_of(kth.key));
      winner = cluster.merge(sampled.winner_before(Limit(), threshold));
    }
    // The most likely token is always kept, so this ends.
    while (winner.token >= 0) {
      const Limit limit{winner.y, winner.token};
      if (winner.y >= threshold) {
        if (sampled.top_p >= 1) break;
        const Masses mass = cluster.merge(sampled.masses(limit, threshold, maximum));
        if (mass.before < static_cast<double>(sampled.top_p) * mass.kept) break;
      }
      winner = cluster.merge(sampled.winner_before(limit, threshold));
    }
    valid = winner.token >= 0;
  }
  if (blockIdx.x % kClusterSize == 0 && threadIdx.x == 0) {
    finish_row(row, winner.token, valid, slots, results);
  }
}

// --- State rows.

__global__ void store_slot_kernel(const __grid_constant__ SlotState value, SlotState* slot) {
  sm90::let_next_start();
  sm90::wait_for_previous();
  *slot = value;
}

__global__ void resolve_kernel(const int32_t* tokens, int count, const SlotState* slots,
                               int32_t* resolved) {
  sm90::let_next_start();
  sm90::wait_for_previous();
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  const int32_t token = tokens[i];
  resolved[i] = token < 0 ? slots[~token].last_token : token;
}

__global__ void record_tokens_kernel(const int32_t* prompt, int prompt_size, const int32_t* output,
                                     int output_size, int vocab, uint32_t* counts,
                                     int32_t* history) {
  sm90::let_next_start();
  sm90::wait_for_previous();
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const auto in_vocabulary = [&](int32_t token) { return token >= 0 && token < vocab; };
  if (counts && i < prompt_size && in_vocabulary(prompt[i])) {
    atomicOr(&counts[prompt[i]], kInPrompt);
  }
  if (i < output_size) {
    if (history) history[i] = output[i];
    if (counts && in_vocabulary(output[i])) atomicAdd(&counts[output[i]], 1u);
  }
}

Grid grid_of(int rows) {
  return {.blocks = dim3(static_cast<unsigned>(rows * kClusterSize)),
          .threads = dim3(kThreads),
          .cluster = kClusterSize};
}

}  // namespace

void draw_greedy(const Launch& on, const DrawRows& rows, int vocab, SlotState* slots,
                 const DrawResults& results) {
  launch("draw_greedy", on, grid_of(rows.count), greedy_kernel, rows, vocab, slots, results);
}

void draw_sampled(const Launch& on, const DrawRows& rows, int vocab, SlotState* slots,
                  const DrawResults& results) {
  launch("draw_sampled", on, grid_of(rows.count), sampled_kernel, rows, vocab, slots, results);
}

void store_slot(const Launch& on, const SlotState& value, SlotState* slot) {
  launch("store_slot", on, {.blocks = dim3(1), .threads = dim3(1)}, store_slot_kernel, value, slot);
}

void record_tokens(const Launch& on, const int32_t* prompt, int prompt_size, const int32_t* output,
                   int output_size, int vocab, uint32_t* counts, int32_t* history) {
  const int size = prompt_size > output_size ? prompt_size : output_size;
  if (size == 0) return;
  launch("record_tokens", on,
         {.blocks = dim3(static_cast<unsigned>(size + 255) / 256), .threads = dim3(256)},
         record_tokens_kernel, prompt, prompt_size, output, output_size, vocab, counts, history);
}

void resolve_last_tokens(const Launch& on, const int32_t* tokens, int count, const SlotState* slots,
                         int32_t* resolved) {
  if (count == 0) return;
  launch("resolve_tokens", on,
         {.blocks = dim3(static_cast<unsigned>(count + 255) / 256), .threads = dim3(256)},
         resolve_kernel, tokens, count, slots, resolved);
}

}  // namespace octavo::cuda
