// EngineCore: what the front half of an engine (checks, keys, text: InProcessClient) asks of the
// half that computes: requests in, events out. Engine is the one in this process; ChildEngine
// stands for one in a child process.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/request.h"
#include "engine/scheduler.h"
#include "octavo/engine_client.h"

namespace octavo {

class EngineCore {
 public:
  // What a core tells. The calls come from threads of its own and must not block.
  struct Listener {
    // Those of one committed step, in order.
    std::function<void(std::vector<SequenceEvent>)> on_events;
    // No step can be run any more, and why: the device is lost, or does not answer. Once at most.
    // Sequences end by cancel() alone from here on.
    std::function<void(const Status&)> on_fault;
  };

  virtual ~EngineCore() = default;  // stops; sequences still running end without an event

  // Any thread; none waits for the device. They take effect before the next step is planned.
  virtual void add(std::shared_ptr<const Request> request) = 0;
  virtual void cancel(RequestKey request) = 0;
  virtual void finish(RequestKey request, int index) = 0;  // a stop string was found
  virtual void reset_prefix_cache() = 0;
  // Whether add() takes requests with a masker. One that does not makes maskers of the parameters
  // itself.
  virtual bool takes_maskers() const = 0;

  // Ends after the steps in flight, and joins. Idempotent; not from a listener's call.
  virtual void stop() = 0;
  // Counters as of the last step; running and waiting include the inbox. Any thread.
  virtual EngineStats stats() const = 0;
  // As EngineClient::inspect().
  virtual void inspect(StateReader reader) = 0;
};

}  // namespace octavo
