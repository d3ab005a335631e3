// EngineState: what an engine is doing at one moment, for people to look at. It holds no text, no
// token and no request id, and its size is bounded whatever the size of the cache or the queue.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "octavo/sampling_params.h"

namespace octavo {

// The blocks of one cache group, counted, and drawn as at most kMaxCells cells.
struct CacheMap {
  static constexpr int kMaxCells = 4096;

  int num_blocks = 0;
  int window = 0;  // tokens; 0: full attention
  int free = 0;
  int cached = 0;  // hold a known prefix; nobody uses them, and they may be taken
  int used = 0;    // by one sequence
  int shared = 0;  // by several
  int blocks_per_cell = 1;
  // Lengths of runs, each with the state of its cells: "12u3s40c9f". A cell of several blocks shows
  // the rarest of their states: shared before used before cached before free.
  std::string runs;
};

// How the tokens of a sequence are drawn: of SamplingParams what is a number, and so tells nothing
// of what a user wrote.
struct SamplingView {
  float temperature = 1;
  float top_p = 1;
  int top_k = 0;
  float min_p = 0;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  float repetition_penalty = 1;
  std::optional<int64_t> seed;  // as the request gave it
  std::optional<int> logprobs;
  bool ignore_eos = false;

  static SamplingView of(const SamplingParams& p) {
    return {.temperature = p.temperature,
            .top_p = p.top_p,
            .top_k = p.top_k,
            .min_p = p.min_p,
            .presence_penalty = p.presence_penalty,
            .frequency_penalty = p.frequency_penalty,
            .repetition_penalty = p.repetition_penalty,
            .seed = p.seed,
            .logprobs = p.logprobs,
            .ignore_eos = p.ignore_eos};
  }
};

// One sequence that runs or waits; tokens.
struct SequenceView {
  bool running = false;
  int prompt = 0;
  int cached = 0;    // of the prompt, found in the prefix cache
  int computed = 0;  // of prompt and output
  int output = 0;
  int max_output = 0;  // where the answer ends at the latest
  SamplingView sampling;
};

struct EngineState {
  static constexpr int kMaxSequences = 128;

  int running = 0;
  int waiting = 0;
  std::vector<CacheMap> cache;          // one per cache group
  std::vector<SequenceView> sequences;  // running ones first, kMaxSequences at most
};

// Takes a state; null when the engine can give none. Must not block.
using StateReader = std::function<void(std::shared_ptr<const EngineState>)>;

}  // namespace octavo
