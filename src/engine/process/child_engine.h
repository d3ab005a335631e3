// ChildEngine: the EngineCore that stands for an engine in a child process, and keeps it there. It
// knows of every request what was asked and which tokens came, so when the child dies it starts
// another one and hands over each request with its tokens so far; the readers notice a pause and
// nothing else. A request that kills child after child is found out and ended (RequestBooks).
//
//   any thread   add, cancel, finish → the books (under mutex_) and a frame to the child
//   octavo-child frames from the child → the books → the event handler; when they end: bury the
//                child, end its culprit, start the next, hand over the books, go on
//
// Invariant: the tokens in the books are exactly those given to the event handler; a token that the
// child drew and did not deliver is drawn again, and is the same one (ops/sampler.h).
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "engine/engine_core.h"
#include "engine/inspection_queue.h"
#include "engine/process/child_process.h"
#include "engine/process/frames.h"
#include "engine/process/request_books.h"

namespace octavo {

class ChildEngine final : public EngineCore {
 public:
  // How often a child is replaced before the engine gives up. Deaths that one request has caused
  // do not count once it is found, unless no request at all was served meanwhile.
  static constexpr int kMaxRestarts = 3;
  static constexpr int kMoreForSuspects = 2;  // while one is looked for
  static constexpr double kRestartWindowSeconds = 60;

  // Starts a child and waits until its model is loaded. Errors: what loading it says, or that no
  // child could be started.
  static StatusOr<std::unique_ptr<ChildEngine>> start(
      const EngineOptions& options, ChildLauncher launcher,
      const std::function<void(const std::string&)>& progress);
  ~ChildEngine() override;

  const ModelInfo& model() const { return model_; }
  // REQUIRED once, before the first add().
  void begin(Listener listener);

  void add(std::shared_ptr<const Request> request) override;
  void cancel(RequestKey request) override;
  void finish(RequestKey request, int index) override;
  void reset_prefix_cache() override;
  bool takes_maskers() const override { return false; }
  void stop() override;
  // Asks the child; what was known last when it does not answer soon.
  EngineStats stats() const override;
  void inspect(StateReader reader) override;

 private:
  // A child and the two ends of our talk with it.
  struct Link {
    explicit Link(std::unique_ptr<ChildProcess> process);
    std::unique_ptr<ChildProcess> process;
    FrameReader reader;
    FrameWriter writer;
  };

  ChildEngine(const EngineOptions& options, ChildLauncher launcher);
  StatusOr<ModelInfo> load_child(const std::function<void(const std::string&)>& progress);
  void run();
  Status serve_child();
  Status take_events(const Frame& frame);
  bool replace_child(Status why);
  void bury_child(Status& why);
  void end_culprit(const Status& why);
  bool may_restart();
  void replay();
  void hand_over();
  void give_up(const Status& why);
  EngineStats current_stats() const;
  template <typename... Ts>
  void send(MessageType type, const Ts&... values) const;

  EngineOptions options_;
  const ChildLauncher launcher_;
  ModelInfo model_;
  Listener listener_;
  std::deque<double> restarts_;  // when; this engine's thread
  bool served_ = false;  // a token came since the last culprit was found; this engine's thread
  InspectionQueue inspections_;

  mutable std::mutex mutex_;
  mutable std::condition_variable stats_arrived_;
  std::unique_ptr<Link> link_;  // guarded by mutex_; its reader belongs to this engine's thread
  bool connected_ = false;      // guarded, as all below: the child has what books_ let it have
  bool stopping_ = false;
  std::optional<RequestBooks> books_;  // from begin() on
  EngineStats finished_children_;      // counters of those that died
  EngineStats child_stats_;
  mutable int64_t stats_asked_ = 0;
  int64_t stats_answered_ = 0;
  std::thread thread_;
};

}  // namespace octavo
