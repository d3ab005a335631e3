// Drawing one token a row.
//
// Greedy: the first pass finds the greatest logit. Sampled: the first pass finds the winner among
// all tokens, argmax( y + noise ) with y = logit / T. That is the end without top-k, top-p and
// min-p. With them the wanted token is the winner among the tokens kept, which are the first few in
// the order by (y descending, id ascending):
//   1. top-k and min-p say from which y on tokens are kept; for top-k select() finds the k-th y.
//   2. Is the winner kept? For top-p a pass adds up the mass before it.
//   3. If not, no token behind it in that order is kept either, and all kept ones are before it:
//      find the winner of those before it, and ask again.
// So a draw from the kept set needs no sorting, and step 3 is rare: with top_p = 0.95 and any
// logits, one row in twenty does it once.
//
// The noise of a token costs two logarithms. It is computed only where the token can still win: its
// random word must be large enough for its y to reach the best so far of the CTA.
#include "backend/cuda/sampler_kernels.h"

#include "backend/cuda/sampler_row.cuh"
#include "base/rounding.h"

namespace octavo::cuda {
namespace {

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

// The greatest value, and the lowest token that has it.
struct Best {
  float value = -kInfinity;
  int token = -1;

  __device__ bool loses_to(float other_value, int other_token) const {
    return other_value > value || (other_value == value && other_token < token);
  }
  __device__ void merge(const Best& other) {
    if (loses_to(other.value, other.token)) *this = other;
  }
  __device__ void reduce() {
    const uint32_t own = key_of(value), most = __reduce_max_sync(kAllLanes, own);
    const auto candidate = own == most ? static_cast<uint32_t>(token) : 0xFFFFFFFF;
    token = static_cast<int>(__reduce_min_sync(kAllLanes, candidate));
    value = value_of(most);
  }
};

struct Greatest {
  Best best;
  uint32_t invalid = 0;  // a NaN or +inf was seen

  __device__ void add(float x, int i) {  // ascending i
    if (x > best.value) best = {x, i};
  }
  __device__ void merge(const Greatest& other) {
    best.merge(other.best);
    invalid |= other.invalid;
  }
  __device__ void reduce() {
    best.reduce();
    invalid = __any_sync(kAllLanes, invalid);
  }
};

__device__ __forceinline__ bool all_below_infinity(const float4& x) {
  return x.x < kInfinity && x.y < kInfinity && x.z < kInfinity && x.w < kInfinity;
}

// The result is exact, so the number of CTAs may go by the batch: fewer of them for each row spend
// more of their time on reading.
template <int kCtas>
__global__ void __launch_bounds__(kThreads, kCtasPerSm)
    greedy_kernel(const __grid_constant__ DrawRows rows, int vocab, SlotState* slots,
                  DrawResults results) {
  __shared__ Exchange exchange;
  Cluster<kCtas> cluster(exchange);
  sm90::let_next_start();
  sm90::wait_for_previous();
  const DrawRow& row = rows.row[blockIdx.x / kCtas];
  Greatest greatest;
  scan<8>(part_of<kCtas>(row.logits, vocab), [&](int i, const float4& x) {
    greatest.add(x.x, i);
    greatest.add(x.y, i + 1);
    greatest.add(x.z, i + 2);
    greatest.add(x.w, i + 3);
    if (!all_below_infinity(x)) greatest.invalid = 1;
  });
  greatest = cluster.merge(greatest);
  if (blockIdx.x % kCtas == 0 && threadIdx.x == 0) {
    const int token = greatest.best.token;
    finish_row(row, token, !greatest.invalid && token >= 0, slots, results);
  }
}

// --- Sampled.

// A place in the order by (y descending, id ascending); by default, behind all that is above -inf.
struct Limit {
  float y = -kInfinity;
  int token = 0;
  __device__ bool is_behind(float other_y, int i) const {
    return other_y > y || (other_y == y && i < token);
  }
};

// What a token must reach to matter: a little less, for roundings, than the best that some thread
// of the CTA has found. Reading an old bar costs time only.
struct Bar {
  uint32_t key;

  __device__ void reset() { key = key_of(kLowest); }
  __device__ float read() const { return value_of(*const_cast<const volatile uint32_t*>(&key)); }
  // By whole warps: each thread has reached `best`. Returns the warp's bar.
  __device__ float raise(float best) {
    const float reached = warp_max(best);
    const float bar = fmaxf(reached - fmaf(fabsf(reached), 2.4e-7f, 0.001f), kLowest);
    if (threadIdx.x % 32 == 0) atomicMax(&key, key_of(bar));
    return bar;
  }
};

__device__ __forceinline__ float greatest_of(const float4& y) {
  return fmaxf(fmaxf(y.x, y.y), fmaxf(y.z, y.w));
}

// A thread's search for the winner.
struct Race {
  uint64_t seed;
  uint32_t position;
  Bar* bar;  // in shared memory
  Best best;

  // Tokens [i, i + 4) and those kStride after them, by whole warps; y = -inf takes no part.
  __device__ __forceinline__ void run(int i, const float4 (&y)[2]) {
    const float limit = bar->read();
    uint4 words[2];
    bool may_win[2];
#pragma unroll
    for (int u = 0; u < 2; ++u) {
      words[u] = words_of_four(seed, position, static_cast<uint32_t>(i + u * kStride) / 4);
      const uint32_t greatest = max(max(words[u].x, words[u].y), max(words[u].z, words[u].w));
      may_win[u] = greatest >= noise_from(limit - greatest_of(y[u]));
    }
    if (!__any_sync(kAllLanes, may_win[0] || may_win[1])) return;
#pragma unroll 1
    for (int u = 0; u < 2; ++u) {
      run_closely(i + u * kStride, u == 0 ? y[0] : y[1], u == 0 ? words[0] : words[1]);
    }
  }

 private:
  // The token that may reach most first, for the bar's sake.
  __device__ __forceinline__ void run_closely(int i, const float4& four, const uint4& four_words) {
    const float y[4] = {four.x, four.y, four.z, four.w};
    const uint32_t words[4] = {four_words.x, four_words.y, four_words.z, four_words.w};
    float limit = bar->read();
    float4 reach = {__fadd_rn(y[0], noise_bound(words[0])), __fadd_rn(y[1], noise_bound(words[1])),
                    __fadd_rn(y[2], noise_bound(words[2])), __fadd_rn(y[3], noise_bound(words[3]))};
    float most = greatest_of(reach);
    while (__any_sync(kAllLanes, most >= limit)) {
      if (most >= limit) {
        const int at = reach.x == most ? 0 : reach.y == most ? 1 : reach.z == most ? 2 : 3;
        const float own = at == 0 ? y[0] : at == 1 ? y[1] : at == 2 ? y[2] : y[3];
        const uint32_t word = at == 0   ? words[0]
                              : at == 1 ? words[1]
                              : at == 2 ? words[2]
                                        : words[3];
        const float value = __fadd_rn(own, noise_of(word));
        if (best.loses_to(value, i + at)) best = {value, i + at};
        if (at == 0) reach.x = -kInfinity;
        if (at == 1) reach.y = -kInfinity;
        if (at == 2) reach.z = -kInfinity;
        if (at == 3) reach.w = -kInfinity;
        most = greatest_of(reach);
      }
      limit = fmaxf(limit, bar->raise(best.value));
    }
  }
};

__device__ __forceinline__ float4 scaled(const float4& x, float factor) {
  return {__fmul_rn(x.x, factor), __fmul_rn(x.y, factor), __fmul_rn(x.z, factor),
          __fmul_rn(x.w, factor)};
}

struct FirstPass {
  float most = kLowest, least = kInfinity;  // y above -inf
  uint32_t invalid = 0;
  Best winner;

  __device__ void merge(const FirstPass& other) {
    most = fmaxf(most, other.most);
    least = fminf(least, other.least);
    invalid |= other.invalid;
    winner.merge(other.winner);
  }
  __device__ void reduce() {
    most = warp_max(most);
    least = warp_min(least);
    invalid = __any_sync(kAllLanes, invalid);
    winner.reduce();
  }
};

struct Masses {
  float before = 0, kept = 0;
  __device__ void merge(const Masses& other) {
    before += other.before;
    kept += other.kept;
  }
  __device__ void reduce() {
    before = warp_sum(before);
    kept = warp_sum(kept);
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

  __device__ Limit place_of(int token) const {
    return {__fmul_rn(part.row[token], inverse_temperature), token};
  }

  // The winner among all tokens, and the greatest y. REQUIRES: the bar is reset.
  __device__ __forceinline__ FirstPass draw(Bar& bar) const {
    FirstPass pass;
    Race race{seed, position, &bar};
    scan_pairs(part, [&](int i, const float4(&x)[2]) {
      const float4 y[2] = {scaled(x[0], inverse_temperature), scaled(x[1], inverse_temperature)};
      if (!all_below_infinity(y[0]) || !all_below_infinity(y[1])) pass.invalid = 1;
      pass.most = fmaxf(pass.most, fmaxf(greatest_of(y[0]), greatest_of(y[1])));
      race.run(i, y);
    });
    pass.winner = race.best;
    return pass;
  }

  // Instead of that with top-k, which rules almost all tokens out: the least y.
  __device__ __forceinline__ FirstPass bounds() const {
    FirstPass pass;
    scan<4>(part, [&](int, const float4& x) {
      const float4 y = scaled(x, inverse_temperature);
      if (!all_below_infinity(y)) pass.invalid = 1;
      pass.most = fmaxf(pass.most, greatest_of(y));
      for (float v : {y.x, y.y, y.z, y.w}) {
        if (v > -kInfinity) pass.least = fminf(pass.least, v);
      }
    });
    return pass;
  }

  // The mass before `limit`, and that from `threshold` <= limit.y up; in units of exp(maximum) but
  // for a rounding that both share.
  __device__ __forceinline__ Masses masses(const Limit& limit, float threshold,
                                           float maximum) const {
    Masses sum;
    const float offset = -maximum * kLog2e;
    const int at = limit.token / 4 * 4;
    const float below = nextafterf(limit.y, -kInfinity);  // up to the limit's token, equals count
    scan<4>(part, [&](int i, const float4& x) {
      const float4 four = scaled(x, inverse_temperature);
      const float y[4] = {four.x, four.y, four.z, four.w};
      const float over = i < at ? below : limit.y;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float mass = exp2_fast(__fmaf_rn(y[j], kLog2e, offset));
        if (y[j] >= threshold) sum.kept += mass;
        if (y[j] > over || (i == at && limit.is_behind(y[j], i + j))) sum.before += mass;
      }
    });
    return sum;
  }

  // REQUIRES: the bar is reset.
  __device__ __forceinline__ Best winner_before(const Limit& limit, float threshold,
                                                Bar& bar) const {
    Race race{seed, position, &bar};
    const auto only_kept = [&](const float4& x, int i) {
      float4 y = scaled(x, inverse_temperature);
      if (y.x < threshold || !limit.is_behind(y.x, i)) y.x = -kInfinity;
      if (y.y < threshold || !limit.is_behind(y.y, i + 1)) y.y = -kInfinity;
      if (y.z < threshold || !limit.is_behind(y.z, i + 2)) y.z = -kInfinity;
      if (y.w < threshold || !limit.is_behind(y.w, i + 3)) y.w = -kInfinity;
      return y;
    };
    scan_pairs(part, [&](int i, const float4(&x)[2]) {
      const float4 y[2] = {only_kept(x[0], i), only_kept(x[1], i + kStride)};
      const float most = fmaxf(greatest_of(y[0]), greatest_of(y[1]));
      if (__any_sync(kAllLanes, most > -kInfinity)) race.run(i, y);
    });
    return race.best;
  }
};

__global__ void __launch_bounds__(kThreads, kCtasPerSm)
    sampled_kernel(const __grid_constant__ DrawRows rows, int vocab, SlotState* slots,
                   DrawResults results) {
  __shared__ Exchange exchange;
  __shared__ Histogram histogram;
  __shared__ Bar bar;
  Cluster cluster(exchange);
  if (threadIdx.x == 0) bar.reset();
  __syncthreads();
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

  const FirstPass first = cluster.merge(sampled.top_k > 0 ? sampled.bounds() : sampled.draw(bar));
  Best winner = first.winner;
  bool valid = !first.invalid && (sampled.top_k > 0 ? first.least < kInfinity : winner.token >= 0);
  if (valid && sampled.filtered()) {
    const float maximum = first.most;
    const auto draw_again = [&](const Limit& limit, float threshold) {
      __syncthreads();
      if (threadIdx.x == 0) bar.reset();
      __syncthreads();
      return cluster.merge(sampled.winner_before(limit, threshold, bar));
    };
    float threshold = maximum + sampled.log_min_p;
    if (sampled.top_k > 0) {
      const Selected kth = select(
          sampled.part, cluster, histogram, sampled.top_k, key_of(first.least), key_of(maximum),
          [&](int, float x) { return key_of(__fmul_rn(x, sampled.inverse_temperature)); });
      if (kth.found) threshold = fmaxf(threshold, value_of(kth.key));
      winner = draw_again(Limit(), threshold);
    }
    // The most likely token is always kept, so this ends.
    while (winner.token >= 0) {
      const Limit limit = sampled.place_of(winner.token);
      if (limit.y >= threshold) {
        if (sampled.top_p >= 1) break;
        const Masses mass = cluster.merge(sampled.masses(limit, threshold, maximum));
        if (mass.before < static_cast<double>(sampled.top_p) * mass.kept) break;
      }
      winner = draw_again(limit, threshold);
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

Grid grid_of(int rows, int ctas) {
  return {.blocks = dim3(static_cast<unsigned>(rows * ctas)),
          .threads = dim3(kThreads),
          .cluster = ctas};
}

}  // namespace

void draw_greedy(const Launch& on, const DrawRows& rows, int vocab, SlotState* slots,
                 const DrawResults& results) {
  const auto launch_with = [&](int ctas, auto kernel) {
    launch("draw_greedy", on, grid_of(rows.count, ctas), kernel, rows, vocab, slots, results);
  };
  if (rows.count <= 64) {  // measured: 8 CTAs a row are faster up to about here
    launch_with(8, greedy_kernel<8>);
  } else {
    launch_with(2, greedy_kernel<2>);
  }
}

void draw_sampled(const Launch& on, const DrawRows& rows, int vocab, SlotState* slots,
                  const DrawResults& results) {
  launch("draw_sampled", on, grid_of(rows.count, kClusterSize), sampled_kernel, rows, vocab, slots,
         results);
}

void store_slot(const Launch& on, const SlotState& value, SlotState* slot) {
  launch("store_slot", on, {.blocks = dim3(1), .threads = dim3(1)}, store_slot_kernel, value, slot);
}

void record_tokens(const Launch& on, const int32_t* prompt, int prompt_size, const int32_t* output,
                   int output_size, int vocab, uint32_t* counts, int32_t* history) {
  const int size = prompt_size > output_size ? prompt_size : output_size;
  if (size == 0) return;
  launch("record_tokens", on,
         {.blocks = dim3(static_cast<unsigned>(divide_up(size, 256))), .threads = dim3(256)},
         record_tokens_kernel, prompt, prompt_size, output, output_size, vocab, counts, history);
}

void resolve_last_tokens(const Launch& on, const int32_t* tokens, int count, const SlotState* slots,
                         int32_t* resolved) {
  if (count == 0) return;
  launch("resolve_tokens", on,
         {.blocks = dim3(static_cast<unsigned>(divide_up(count, 256))), .threads = dim3(256)},
         resolve_kernel, tokens, count, slots, resolved);
}

}  // namespace octavo::cuda
