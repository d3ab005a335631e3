// Engine: the loop. One thread that takes requests from an inbox, plans steps one ahead of the
// device, reads finished steps and hands their events on. It knows no text, no sockets and no
// device.
//
//   inbox.drain -> plan n+1 = scheduler.schedule -> executor.submit(n+1) -> executor.wait(n)
//   -> scheduler.commit(n) -> executor.sample(n+1, masks) -> events(n)
//
// A failed step ends the requests in it and nothing else, unless the device is lost with it. A step
// that does not end at all is noticed by a watchdog. Both are told once, through on_fault; what
// follows is the listener's.
//
// The forward pass of n+1 runs while the host reads n; only rows with a host mask wait for
// commit(n). How many steps are in flight is the executor's word.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "cache/kv_manager.h"
#include "engine/engine_core.h"
#include "engine/executor/executor.h"
#include "engine/inspection_queue.h"
#include "engine/scheduler.h"
#include "engine/step_watchdog.h"

namespace octavo {

class Engine final : public EngineCore {
 public:
  // The listener is called on the engine thread; on_fault also on the watchdog's. A step that takes
  // longer than `step_timeout_seconds` is a fault; 0: it may take for ever.
  Engine(const SchedulerConfig& config, std::unique_ptr<KvManager> cache,
         std::unique_ptr<Executor> executor, Listener listener, double step_timeout_seconds = 0);
  ~Engine() override;

  void add(std::shared_ptr<const Request> request) override;
  void cancel(RequestKey request) override;
  void finish(RequestKey request, int index) override;
  void reset_prefix_cache() override;
  bool takes_maskers() const override { return true; }
  void stop() override;
  EngineStats stats() const override;
  void inspect(StateReader reader) override;

 private:
  void run();
  bool take_commands();
  void step();
  void read_oldest();
  void publish_stats();
  std::shared_ptr<const EngineState> make_state() const;
  // `sequences`: that the command adds, waiting from now on.
  void post(std::function<void()> command, int sequences = 0);
  void report_fault(const Status& fault);
  void join();

  std::unique_ptr<KvManager> cache_;
  Scheduler scheduler_;
  std::unique_ptr<Executor> executor_;
  Listener listener_;
  std::atomic<bool> faulted_{false};
  std::unique_ptr<StepWatchdog> watchdog_;  // null: none asked for
  int64_t steps_ = 0;
  struct Step {
    std::shared_ptr<const BatchPlan> plan;
    double submitted = 0;  // steady seconds
  };
  std::deque<Step> in_flight_;
  double completed_ = 0;               // when the last step was, steady seconds
  std::vector<SequenceEvent> events_;  // committed, not yet handed on

  mutable std::mutex mutex_;
  std::condition_variable inbox_ready_;
  std::vector<std::function<void()>> inbox_;  // guarded by mutex_
  int sequences_in_inbox_ = 0;                // guarded by mutex_
  bool stopping_ = false;                     // guarded by mutex_
  bool ended_ = false;                        // guarded by mutex_: run() has returned
  std::condition_variable end_reached_;
  EngineStats stats_;  // guarded by mutex_
  InspectionQueue inspections_;
  std::thread thread_;
};

}  // namespace octavo
