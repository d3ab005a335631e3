// OutputProcessor: turns committed tokens into what clients read: text, stop strings,
// log-probabilities, finish reasons. It owns the output threads; a request belongs to one of them
// for life, so its sink is called in order. The engine thread only pushes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine_metrics.h"
#include "engine/scheduler.h"
#include "octavo/engine_client.h"
#include "text/tokenizer.h"

namespace octavo {

class OutputProcessor {
 public:
  // Called from output threads; must not block.
  struct Callbacks {
    std::function<void(RequestKey, int index)> finish_sequence;  // a stop string ended it
    std::function<void(RequestKey)> cancel;                      // its sink wants no more
    std::function<void(RequestKey)> ended;                       // its last output was delivered
  };

  // `tokenizer` must outlive it.
  OutputProcessor(const text::Tokenizer& tokenizer, EngineMetrics& metrics, int threads,
                  Callbacks callbacks);
  ~OutputProcessor();  // delivers what was pushed, then joins; sinks of unfinished requests hear
                       // nothing more

  // Any thread. REQUIRED before the first event of the request can be pushed.
  void add(std::shared_ptr<const Request> request, std::shared_ptr<StreamSink> sink);
  // A thread of the engine's: the events of one step.
  void push(std::vector<SequenceEvent> events);
  // Any thread: delivers a last output with `reason`, and `error` if that is kError, to one
  // request. Ended ones are ignored.
  void end(RequestKey request, FinishReason reason, Status error = {});

 private:
  class Shard;
  Shard& shard(RequestKey key) const;
  EngineMetrics& metrics_;
  std::vector<std::unique_ptr<Shard>> shards_;
};

}  // namespace octavo
