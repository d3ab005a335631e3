// EngineServer: the child's side. It loads an engine core as the parent's first frame asks for, and
// then is the wire between the two: frames in become calls, events out become frames.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/engine_core.h"
#include "engine/process/frames.h"

namespace octavo {

class EngineServer {
 public:
  struct Loaded {
    std::unique_ptr<EngineCore> core;
    ModelInfo model;
  };
  // Loads a model and starts the core that runs it. `progress` takes one line per stage.
  using Factory =
      std::function<StatusOr<Loaded>(const EngineOptions&, EngineCore::Listener listener,
                                     std::function<void(const std::string&)> progress)>;

  // The descriptor stays the caller's. A sequence with an event of more bytes ends in failure.
  EngineServer(int fd, Factory factory, size_t max_event_bytes = kMaxEventBytes)
      : fd_(fd),
        factory_(std::move(factory)),
        max_event_bytes_(max_event_bytes),
        reader_(fd),
        writer_(fd) {}
  ~EngineServer();  // stops the core. REQUIRES: as FrameWriter's

  // Serves until the peer closes. Blocks; one thread, once. Errors: a breach of the protocol; the
  // model could not be loaded, or the core has a fault (the peer has been told).
  Status run();

 private:
  Status load();
  Status handle(const Frame& frame);
  void send_events(std::vector<SequenceEvent> events);
  void end_with(const Status& fault);

  const int fd_;
  Factory factory_;
  const size_t max_event_bytes_;
  Loaded loaded_;  // what waits in the writer asks it for stats
  FrameReader reader_;
  FrameWriter writer_;
  std::mutex mutex_;
  Status fault_;  // guarded by mutex_
};

}  // namespace octavo
