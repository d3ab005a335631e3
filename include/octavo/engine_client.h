// EngineClient: the only door to an engine, for the HTTP server, the command line, the C++ API and
// Python. In-process today; a child process, a replica or a remote host stands behind the same
// interface.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "octavo/config.h"
#include "octavo/engine_state.h"
#include "octavo/outputs.h"
#include "octavo/sampling_params.h"
#include "octavo/status.h"
#include "octavo/text.h"

namespace octavo {

// Where a request came from, for whoever traces it; an engine makes nothing of it.
struct RequestOrigin {
  std::string answer_id;    // what the client knows the answer by: "chatcmpl-…"
  std::string traceparent;  // W3C Trace Context, as it came and unchecked; empty: none came
  std::string tracestate;
};

// One prompt to complete. Immutable once submitted.
struct GenerateRequest {
  std::string request_id;                 // empty: one is made
  std::vector<TokenId> prompt_token_ids;  // at least one, all within the vocabulary
  SamplingParams sampling;                // validated by submit()
  int64_t priority = 0;                   // lower first, under the `priority` policy
  std::string cache_salt;                 // requests share cached prefixes only under one salt
  double arrival = 0;                     // steady clock, seconds; 0: now
  RequestOrigin origin;
};

// Receives the outputs of one request, in order, each once. Called from an output thread: it must
// not block and must not call back into submit(). Returning false cancels the request; no call
// follows one that returned false or one whose output says finished.
class StreamSink {
 public:
  virtual ~StreamSink() = default;
  virtual bool on_output(RequestOutput output) = 0;
};

// What a client needs to know of the model behind the door; constant.
struct ModelInfo {
  std::string name;          // as given by the user
  std::string architecture;  // "LlamaForCausalLM"
  std::string dtype;
  std::string device;  // "cpu (avx512)", "cuda: NVIDIA H200"
  int vocab_size = 0;
  int max_model_len = 0;
  int block_size = 0;
  int num_kv_blocks = 0;
  int64_t num_parameters = 0;
  int64_t weight_bytes = 0;
  int64_t kv_cache_bytes = 0;
  int max_num_seqs = 0;
  int max_num_batched_tokens = 0;
  int max_logprobs = 20;  // largest `logprobs` a request may ask for; -1: any
  bool prefix_caching = true;
  std::vector<TokenId> eos_token_ids;
  SamplingParams default_sampling;  // from generation_config.json
};

// A moment's view of the engine; counters grow from 0 at start.
struct EngineStats {
  int running = 0;
  int waiting = 0;
  double kv_cache_usage = 0;   // share of blocks held by requests, 0 to 1
  int64_t free_kv_blocks = 0;  // free or evictable
  int64_t num_preemptions = 0;
  int64_t prompt_tokens = 0;  // computed or cached
  int64_t generation_tokens = 0;
  int64_t prefix_cache_queries = 0;  // tokens
  int64_t prefix_cache_hits = 0;     // tokens
  int64_t steps = 0;
  double engine_cpu_seconds = 0;  // CPU time of the engine thread
};

class EngineClient {
 public:
  virtual ~EngineClient() = default;

  // Queues a request and returns its id. Errors are the request's own: parameters out of range, a
  // prompt longer than the context (param "input_tokens", vLLM's words), ids outside the
  // vocabulary, a structured output that cannot be enforced, an engine that drains or has stopped.
  // Any thread; does not block on the model, but on a grammar that is not compiled yet: usually
  // milliseconds, at most some seconds.
  virtual StatusOr<std::string> submit(GenerateRequest request,
                                       std::shared_ptr<StreamSink> sink) = 0;
  // Ends a request soon; its sink gets a last output with kAbort. Unknown ids are ignored. Any
  // thread.
  virtual void cancel(const std::string& request_id) = 0;

  virtual const ModelInfo& model() const = 0;
  virtual const Text& text() const = 0;
  virtual EngineStats stats() const = 0;
  // Calls `reader` with a state at most a few tenths of a second old, once, from any thread and
  // perhaps before this returns. Costs the engine nothing while nobody asks. Any thread.
  virtual void inspect(StateReader reader) = 0;
  // Not ok once the engine can serve no more, with the reason. Any thread.
  virtual Status health() const = 0;
  // Prometheus text of the engine's own metrics (vLLM's names). Any thread.
  virtual std::string metrics_text() const = 0;
  // Forgets cached prefixes that no request holds.
  virtual void reset_prefix_cache() = 0;

  // Refuses new requests, lets those in flight finish for up to `timeout_seconds`, aborts the rest
  // and stops the threads. Idempotent.
  virtual void shutdown(double timeout_seconds) = 0;
};

// Loads a model and starts its engine in this process. `progress` (may be null) gets one line per
// stage of loading. Errors name the file, the tensor or the option at fault.
StatusOr<std::unique_ptr<EngineClient>> make_engine(
    const EngineOptions& options, std::function<void(const std::string&)> progress = nullptr);

}  // namespace octavo
