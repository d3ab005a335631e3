// The sampler's kernels, as sampler.cc launches them. Every row of logits is worked on by one
// cluster of CTAs, cut in a way that depends on the vocabulary only: a row's result is the same
// whatever else is in the batch.
#pragma once

#include <cstdint>

#include "backend/cuda/launch.h"

namespace octavo::cuda {

// What a request asks to be edited in its logits, in device memory. Empty lists are null.
struct EditLists {
  const uint32_t* allowed = nullptr;  // [vocab / 32, rounded up] bits
  const int32_t* banned = nullptr;    // [num_banned]: stop ids, out before min_tokens
  const int32_t* biased = nullptr;    // [num_biased], ascending
  const float* bias = nullptr;        // [num_biased]
  const int32_t* words = nullptr;     // the tokens of all bad words, in a row
  const int32_t* word_end = nullptr;  // [num_words]: where each ends
  int32_t num_banned = 0, num_biased = 0, num_words = 0;
  float repetition = 1, frequency = 0, presence = 0;  // penalties; used if there are counts
};

// A state row.
struct SlotState {
  uint64_t seed = 0;
  uint32_t position = 0;  // tokens drawn so far
  int32_t last_token = 0;
  float inverse_temperature = 1;
  float top_p = 1;                           // 1: off
  float log_min_p = -__builtin_huge_valf();  // -inf: off
  int32_t top_k = 0;                         // 0: off
  uint32_t* counts = nullptr;  // [vocab], with penalties: times drawn, kInPrompt added
  int32_t* history = nullptr;  // [max_model_len], with bad words: the tokens drawn
  EditLists edits;
};
inline constexpr uint32_t kInPrompt = 0x80000000;

inline constexpr int kRowsPerLaunch = 256;

struct DrawRow {
  const float* logits = nullptr;  // [vocab]
  int32_t slot = 0;
  int32_t result = 0;  // index into the result words
};
struct DrawRows {
  int count = 0;
  DrawRow row[kRowsPerLaunch];
};

// The result of a draw is one 64-bit word in mapped host memory: the token, kInvalid added if the
// logits allow no choice, and in the upper half the number of the call, by which the host knows
// that the word has come.
inline constexpr uint32_t kInvalid = 0x80000000;
struct DrawResults {
  uint64_t* words = nullptr;
  uint32_t call = 0;
};

// Draws a token a row and appends it to its slot: the lowest of the greatest, or what the slot's
// parameters say.
void draw_greedy(const Launch& on, const DrawRows& rows, int vocab, SlotState* slots,
                 const DrawResults& results);
void draw_sampled(const Launch& on, const DrawRows& rows, int vocab, SlotState* slots,
                  const DrawResults& results);

// Up to this many of the most likely tokens are found on the device; of rows that want more, the
// logits themselves go to the host.
inline constexpr int kMostTop = 256;

struct TopEntry {
  int32_t token = 0;
  float logprob = 0;
};
// In mapped host memory; `call` is written last.
struct LogprobResult {
  float logprob = 0;
  int32_t rank = 0;
  float maximum = 0, log_sum = 0;  // logprob of x: (x - maximum) - log_sum
  int32_t num_top = 0;
  uint32_t invalid = 0;
  uint32_t call = 0;
};
struct LogprobRow {
  const float* logits = nullptr;  // [vocab], as the model gave them
  int32_t token = 0;              // ~slot: that slot's last token
  int32_t num_top = 0;
  LogprobResult* result = nullptr;
  void* top = nullptr;  // TopEntry [num_top], or float [vocab] with num_top > kMostTop
};
inline constexpr int kLogprobRowsPerLaunch = 64;
struct LogprobRows {
  int count = 0;
  LogprobRow row[kLogprobRowsPerLaunch];
};
void find_logprobs(const Launch& on, const LogprobRows& rows, int vocab, const SlotState* slots,
                   uint32_t call);

struct EditRow {
  const float* logits = nullptr;   // [vocab]
  float* edited = nullptr;         // [vocab], aligned to 16 bytes
  const uint32_t* mask = nullptr;  // bits, in mapped host memory; null: all allowed
  int32_t mask_words = 0;
  int32_t slot = 0;
  bool ban = false;  // the slot's banned tokens
};
inline constexpr int kEditRowsPerLaunch = 64;
struct EditRows {
  int count = 0;
  EditRow row[kEditRowsPerLaunch];
};
void edit_logits(const Launch& on, const EditRows& rows, int vocab, const SlotState* slots);

void store_slot(const Launch& on, const SlotState& value, SlotState* slot);
// Counts a prompt and an output into counts (zero before; may be null) and copies the output into
// history (may be null). The tokens are in mapped host memory.
void record_tokens(const Launch& on, const int32_t* prompt, int prompt_size, const int32_t* output,
                   int output_size, int vocab, uint32_t* counts, int32_t* history);
void resolve_last_tokens(const Launch& on, const int32_t* tokens, int count, const SlotState* slots,
                         int32_t* resolved);

}  // namespace octavo::cuda
