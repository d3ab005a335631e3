// Request: what a user wants, immutable, checked and tokenised. Sequence: how far one of its n
// answers has come; owned by the Scheduler, touched by the engine thread only.
//
// Invariants of a Sequence:
//  1. num_computed counts tokens whose KV the submitted steps have written or will write; device
//  work is in
//     order, so a later step may read them. num_committed counts those of steps that came back
//     without error; num_committed <= num_computed <= num_tokens(), num_committed <= num_known().
//  2. inflight steps mention its slot; the slot goes to another sequence only at inflight == 0.
//  3. unread of those steps draw a token that the host has not read: the sequence's length is
//     num_tokens() = prompt + output + unread. A running sequence with unread tokens has computed
//     all but the last.
//  4. A waiting sequence holds no blocks. It is admitted again only at inflight == 0, so every step
//  in flight of a
//     running sequence belongs to its present blocks and slot.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/strong_id.h"
#include "cache/kv_manager.h"
#include "engine/repetition_detector.h"
#include "engine/token_masker.h"
#include "octavo/outputs.h"
#include "octavo/sampling_params.h"

namespace octavo {

using RequestKey =
    StrongId<struct RequestTag, int64_t>;  // unique in this process, unlike the user's id

// How far a request had come in an engine that died, as its reader knows it. Another engine goes on
// from there, as after a preemption.
struct RequestProgress {
  struct Answer {
    std::vector<TokenId> tokens;  // drawn and delivered
    bool ended = false;
  };
  std::vector<Answer> answers;  // one per sequence; empty: a fresh request
  bool admitted = false;        // the two that follow are known
  int num_cached = 0;
  double first_scheduled = 0;
  int next_prompt_logprob = 1;  // first prompt position whose log-probability is not delivered
};

struct Request {
  RequestKey key;
  std::string id;
  std::shared_ptr<const std::vector<TokenId>> prompt;
  std::shared_ptr<const SamplingParams> params;
  int max_tokens = 0;            // resolved: prompt + max_tokens fit the context
  std::vector<TokenId> eos_ids;  // end the sequence with no stop_reason; empty with ignore_eos
  std::vector<std::vector<TokenId>> bad_words;  // tokenised
  int64_t priority = 0;
  double arrival = 0;
  std::string cache_salt;
  uint64_t seed = 0;  // of sequence 0; sequence i uses seed + i
  RequestProgress progress;
  std::function<std::unique_ptr<TokenMasker>()> make_masker;  // null: unconstrained
};

enum class SequenceState { kWaiting, kRunning, kRetired };

struct Sequence {
  SequenceId id;
  std::shared_ptr<const Request> request;
  int index = 0;
  SequenceState state = SequenceState::kWaiting;
  SlotId slot;                  // valid while running, and until inflight is 0
  std::vector<TokenId> tokens;  // the prompt, then the output that the host has read
  int num_computed = 0;
  int num_committed = 0;
  int num_cached = 0;  // prompt tokens found in the prefix cache at first admission
  int inflight = 0;
  int unread = 0;
  int num_preemptions = 0;
  // Its first blocks are a sibling's, by KvManager::share, and no step of its own is committed yet:
  // if the steps that fill those blocks fail, it fails.
  bool borrowed = false;
  SequenceBlocks blocks;
  std::unique_ptr<TokenMasker> masker;
  std::optional<RepetitionDetector> repetition;  // with repetition_detection
  double first_scheduled = 0;

  std::span<const TokenId> output() const {
    return std::span(tokens).subspan(request->prompt->size());
  }
  int num_prompt() const { return static_cast<int>(request->prompt->size()); }
  int num_known() const { return static_cast<int>(tokens.size()); }
  int num_output() const { return num_known() - num_prompt(); }
  int num_tokens() const { return num_known() + unread; }
};

}  // namespace octavo
