// The edits that a request asks for, in the order of ops/sampler.h: a row is copied with everything
// not allowed at -inf, then bad words and banned tokens, bias, penalties. A CTA does all of it for
// the tokens of its part of the row.
#include "backend/cuda/sampler_kernels.h"
#include "backend/cuda/sm90.cuh"

namespace octavo::cuda {
namespace {

constexpr int kParts = 16, kThreads = 256;

// The output so far ends with word[0 .. size - 1).
__device__ bool is_next(const SlotState& slot, const int32_t* word, int size) {
  const int prefix = size - 1;
  if (prefix > static_cast<int>(slot.position)) return false;
  for (int i = 0; i < prefix; ++i) {
    if (slot.history[slot.position - prefix + i] != word[i]) return false;
  }
  return true;
}

__device__ float penalised(float x, uint32_t count, const EditLists& edits) {
  if (count == 0) return x;
  x = x > 0 ? __fdiv_rn(x, edits.repetition) : __fmul_rn(x, edits.repetition);
  const uint32_t drawn = count & ~kInPrompt;
  if (drawn > 0) {
    x = __fsub_rn(x, __fmul_rn(edits.frequency, static_cast<float>(drawn)));
    x = __fsub_rn(x, edits.presence);
  }
  return x;
}

__global__ void __launch_bounds__(kThreads)
    edit_kernel(const __grid_constant__ EditRows rows, int vocab, const SlotState* slots) {
  sm90::let_next_start();
  sm90::wait_for_previous();
  constexpr float kInfinity = __builtin_huge_valf();
  __shared__ uint32_t allowed[kThreads];
  const EditRow& row = rows.row[blockIdx.x / kParts];
  const SlotState& slot = slots[row.slot];
  const EditLists& edits = slot.edits;
  const int words = ((vocab + 31) / 32 + kParts - 1) / kParts;  // a part is whole words of a mask
  const int begin = static_cast<int>(blockIdx.x % kParts) * words * 32;
  const int end = min(begin + words * 32, vocab);
  const auto ours = [&](int32_t token) { return token >= begin && token < end; };
  const int thread = static_cast<int>(threadIdx.x);

  // As many mask words at a time as there are threads: each is read once, over PCIe.
  for (int base = begin; base < end; base += 32 * kThreads) {
    const int word = base / 32 + thread;
    uint32_t bits = 0xFFFFFFFF;
    if (row.mask) bits = word < row.mask_words ? row.mask[word] : 0;
    if (edits.allowed) bits &= word * 32 < end ? edits.allowed[word] : 0;
    __syncthreads();
    allowed[thread] = bits;
    __syncthreads();
    for (int i = base + thread; i < min(base + 32 * kThreads, end); i += kThreads) {
      const bool keep = allowed[(i - base) / 32] >> (i % 32) & 1;
      row.edited[i] = keep ? row.logits[i] : -kInfinity;
    }
  }
  __syncthreads();

  for (int w = thread; w < edits.num_words; w += kThreads) {
    const int from = w == 0 ? 0 : edits.word_end[w - 1], size = edits.word_end[w] - from;
    const int32_t last = edits.words[from + size - 1];
    if (ours(last) && is_next(slot, edits.words + from, size)) row.edited[last] = -kInfinity;
  }
  if (row.ban) {
    for (int i = thread; i < edits.num_banned; i += kThreads) {
      if (ours(edits.banned[i])) row.edited[edits.banned[i]] = -kInfinity;
    }
  }
  __syncthreads();

  // One thread does all entries of a token, in order.
  for (int i = thread; i < edits.num_biased; i += kThreads) {
    const int32_t token = edits.biased[i];
    if (!ours(token) || (i > 0 && edits.biased[i - 1] == token)) continue;
    float x = row.edited[token];
    for (int j = i; j < edits.num_biased && edits.biased[j] == token; ++j) x += edits.bias[j];
    row.edited[token] = x;
  }
  if (!slot.counts) return;
  __syncthreads();
  for (int i = begin + thread; i < end; i += kThreads) {
    row.edited[i] = penalised(row.edited[i], slot.counts[i], edits);
  }
}

}  // namespace

void edit_logits(const Launch& on, const EditRows& rows, int vocab, const SlotState* slots) {
  launch("edit_logits", on,
         {.blocks = dim3(static_cast<unsigned>(rows.count * kParts)), .threads = dim3(kThreads)},
         edit_kernel, rows, vocab, slots);
}

}  // namespace octavo::cuda
