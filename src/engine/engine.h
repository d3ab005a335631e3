// Engine: the loop. One thread that takes requests from an inbox, plans steps one ahead of the
// device, reads finished steps and hands their events on. It knows no text, no sockets and no
// device.
//
//   inbox.drain -> plan n+1 = scheduler.schedule -> executor.submit(n+1) -> executor.wait(n)
//   -> scheduler.commit(n) -> executor.sample(n+1, masks) -> events(n)
//
// The forward pass of n+1 runs while the host reads n; only rows with a host mask wait for
// commit(n). How many steps are in flight is the executor's word.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "cache/kv_manager.h"
#include "engine/executor/executor.h"
#include "engine/scheduler.h"
#include "octavo/engine_client.h"

namespace octavo {

class Engine {
 public:
  // Receives the events of one committed step, in order. Engine thread.
  using EventHandler = std::function<void(std::vector<SequenceEvent>)>;

  Engine(const SchedulerConfig& config, std::unique_ptr<KvManager> cache,
         std::unique_ptr<Executor> executor, EventHandler on_events);
  ~Engine();  // stops; sequences still running end without an event

  // Any thread; they take effect before the next step is planned.
  void add(std::shared_ptr<const Request> request);
  void cancel(RequestKey request);
  void finish(RequestKey request, int index);  // a stop string was found
  void reset_prefix_cache();

  // Ends the loop after the steps in flight, and joins. Idempotent; not from the engine thread.
  void stop();
  // Counters as of the last step; running and waiting include the inbox.
  EngineStats stats() const;

 private:
  void run();
  bool take_commands();
  void step();
  void read_oldest();
  void publish_stats();
  void post(std::function<void()> command);

  std::unique_ptr<KvManager> cache_;
  Scheduler scheduler_;
  std::unique_ptr<Executor> executor_;
  EventHandler on_events_;
  int64_t steps_ = 0;
  std::deque<std::shared_ptr<const BatchPlan>> in_flight_;
  std::vector<SequenceEvent> events_;  // committed, not yet handed on

  mutable std::mutex mutex_;
  std::condition_variable inbox_ready_;
  std::vector<std::function<void()>> inbox_;  // guarded by mutex_
  bool stopping_ = false;                     // guarded by mutex_
  EngineStats stats_;                         // guarded by mutex_
  std::thread thread_;
};

}  // namespace octavo
