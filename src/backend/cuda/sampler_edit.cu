// The edits that a request asks for, with the outcome of the order in ops/sampler.h: allowed ids
// and mask, bad words and banned tokens, bias, penalties. One pass copies the row, with what is not
// allowed at -inf and the penalties applied; the few tokens with a bias or a ban are done after it.
// A CTA does all of it for the tokens of its part of the row.
#include "backend/cuda/sampler_kernels.h"
#include "backend/cuda/sm90.cuh"
#include "base/rounding.h"

namespace octavo::cuda {
namespace {

constexpr int kParts = 16, kThreads = 256;
constexpr float kInfinity = __builtin_huge_valf();

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

// Which tokens are allowed, 32 to a word; word i is at mask and at allowed.
__device__ uint32_t allowed_word(const EditRow& row, const EditLists& edits, int i, int words) {
  uint32_t bits = 0xFFFFFFFF;
  if (row.mask) bits = i < row.mask_words ? row.mask[i] : 0;
  if (edits.allowed) bits &= i < words ? edits.allowed[i] : 0;
  return bits;
}

__global__ void __launch_bounds__(kThreads)
    edit_kernel(const __grid_constant__ EditRows rows, int vocab, const SlotState* slots) {
  __shared__ uint32_t allowed[kThreads];
  sm90::let_next_start();
  sm90::wait_for_previous();
  const EditRow& row = rows.row[blockIdx.x / kParts];
  const SlotState& slot = slots[row.slot];
  const EditLists& edits = slot.edits;
  const int words = divide_up(vocab, 32), part_words = divide_up(words, kParts);
  const int begin = static_cast<int>(blockIdx.x % kParts) * part_words * 32;
  const int end = min(begin + part_words * 32, vocab);
  const auto ours = [&](int32_t token) { return token >= begin && token < end; };
  const int thread = static_cast<int>(threadIdx.x);
  const auto penalise = [&](float x, int token) {
    return slot.counts ? penalised(x, slot.counts[token], edits) : x;
  };

  // As many mask words at a time as there are threads: each is read once, over PCIe.
  for (int base = begin; base < end; base += 32 * kThreads) {
    __syncthreads();
    allowed[thread] = allowed_word(row, edits, base / 32 + thread, words);
    __syncthreads();
    const int stop = min(base + 32 * kThreads, end);
#pragma unroll 4
    for (int i = base + thread; i < stop; i += kThreads) {
      const bool keep = allowed[(i - base) / 32] >> (i % 32) & 1;
      row.edited[i] = penalise(keep ? row.logits[i] : -kInfinity, i);
    }
  }
  __syncthreads();

  // Again for biased tokens, whose bias comes before the penalties. One thread does all entries of
  // a token, in order.
  for (int i = thread; i < edits.num_biased; i += kThreads) {
    const int32_t token = edits.biased[i];
    if (!ours(token) || (i > 0 && edits.biased[i - 1] == token)) continue;
    const bool keep = allowed_word(row, edits, token / 32, words) >> (token % 32) & 1;
    float x = keep ? row.logits[token] : -kInfinity;
    for (int j = i; j < edits.num_biased && edits.biased[j] == token; ++j) x += edits.bias[j];
    row.edited[token] = penalise(x, token);
  }
  __syncthreads();

  // What is out stays out whatever is added to it.
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
}

}  // namespace

void edit_logits(const Launch& on, const EditRows& rows, int vocab, const SlotState* slots) {
  launch("edit_logits", on,
         {.blocks = dim3(static_cast<unsigned>(rows.count * kParts)), .threads = dim3(kThreads)},
         edit_kernel, rows, vocab, slots);
}

}  // namespace octavo::cuda
