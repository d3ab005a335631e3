// What the tests of a ChildEngine share: a child that is a thread here and dies when it is told to.
// Its device is a ReplayDevice: a token depends on the whole history before it, so one that is
// lost, doubled or drawn from the wrong state changes everything after it.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/process/child_engine.h"
#include "engine/process/engine_server.h"
#include "engine/testing_replay_device.h"

namespace octavo {

inline constexpr int kVocab = 1000;
inline constexpr int kContext = 512;
inline constexpr int kSlots = 16;

inline void pause_ms(int ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

// The device is lost in that step from now, of whichever child; below 0: it is not.
inline std::atomic<int> steps_until_loss = -1;
// The device of every child is lost in each step that computes a token at this position.
inline std::atomic<int> fatal_position = kContext;

inline std::atomic<size_t> max_event_bytes = kMaxEventBytes;

inline bool reaches(const BatchPlan& plan, int position) {
  return std::any_of(plan.rows.begin(), plan.rows.end(), [&](const PlanRow& row) {
    return row.start <= position && position < row.start + row.num_tokens;
  });
}

// One step at a time on a ReplayDevice that takes `seconds` for each.
class ReplayExecutor final : public Executor {
 public:
  ReplayExecutor(std::vector<CacheGroupSpec> groups, double seconds)
      : device_(std::move(groups), 16, kSlots, kVocab, [](const SlotSetup&) { return ""; }),
        seconds_(seconds) {}
  void submit(std::shared_ptr<const BatchPlan> plan) override {
    plan_ = std::move(plan);
    device_.submit(*plan_);
  }
  void sample(StepId, StepMasks masks) override { device_.sample(*plan_, masks); }
  StepResult wait() override {
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds_));
    EXPECT_EQ(device_.error(), "");
    StepResult result = device_.wait();
    if (steps_until_loss.fetch_sub(1) == 0 || reaches(*plan_, fatal_position))
      result.status = unavailable("op: the device is lost");
    return result;
  }
  int max_in_flight() const override { return 1; }

 private:
  ReplayDevice device_;
  std::shared_ptr<const BatchPlan> plan_;
  double seconds_;
};

inline StatusOr<EngineServer::Loaded> load_replay_core(
    const EngineOptions& options, EngineCore::Listener listener,
    const std::function<void(const std::string&)>& say) {
  if (say) say("loading " + options.model.model);
  if (options.model.model == "missing") return not_found("no such model");
  const std::vector<CacheGroupSpec> groups = {{.num_blocks = 200}};  // tight: sequences preempt
  SchedulerConfig config;
  config.max_num_batched_tokens = 64;
  config.max_num_seqs = kSlots;
  config.max_model_len = kContext;
  config.vocab_size = kVocab;
  EngineServer::Loaded loaded;
  loaded.model.name = options.model.model;
  loaded.model.max_model_len = kContext;
  loaded.model.max_num_seqs = kSlots;
  loaded.core =
      std::make_unique<Engine>(config, std::make_unique<KvManager>(groups, 16, true),
                               std::make_unique<ReplayExecutor>(groups, 2e-4), std::move(listener));
  return loaded;
}

// A child that is a thread. die() is a kill: what it has not written is lost.
class ThreadChild final : public ChildProcess {
 public:
  explicit ThreadChild(bool stillborn) {
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends_), 0);
    if (stillborn) {
      die();
      return;
    }
    thread_ = std::thread([this] {
      EngineServer server(ends_[1], load_replay_core, max_event_bytes);
      const Status status = server.run();
      EXPECT_NE(status.code(), StatusCode::kDataLoss) << status.message();
      die();
    });
  }
  ~ThreadChild() override {
    end(0);
    for (const int end : ends_) close(end);
  }
  int socket() const override { return ends_[0]; }
  void disconnect() override { shutdown(ends_[0], SHUT_RDWR); }
  void die() { shutdown(ends_[1], SHUT_RDWR); }
  // Shutting this descriptor down does the same, also when the child may be gone already.
  int kill_switch() const { return dup(ends_[1]); }
  std::string end(double) override {
    disconnect();
    if (thread_.joinable()) thread_.join();
    return "was ended by the test";
  }
  std::string name() const override { return "thread"; }

 private:
  int ends_[2];
  std::thread thread_;
};

// A ChildEngine and what its events said, by request and index.
class ChildRig {
 public:
  explicit ChildRig(const std::string& model = "replay") {
    fatal_position = kContext;
    set_log_level(LogLevel::kOff);  // deaths are announced as errors
    EngineOptions options;
    options.model.model = model;
    auto engine = ChildEngine::start(
        options,
        [this]() -> StatusOr<std::unique_ptr<ChildProcess>> {
          auto child = std::make_unique<ThreadChild>(stillborn);
          std::lock_guard lock(mutex_);
          ++children;
          if (kill_switch_ >= 0) close(kill_switch_);
          kill_switch_ = child->kill_switch();
          return std::unique_ptr<ChildProcess>(std::move(child));
        },
        [this](const std::string& line) { progress = line; });
    status = engine.status();
    if (!engine.ok()) return;
    engine_ = std::move(*engine);
    engine_->begin({
        .on_events = [this](std::vector<SequenceEvent> events) { take(std::move(events)); },
        .on_fault = [this](const Status& status) { take(status); },
    });
  }
  ~ChildRig() {
    engine_.reset();
    if (kill_switch_ >= 0) close(kill_switch_);
  }
  ChildEngine& engine() { return *engine_; }

  void kill() {
    const int before = children;
    {
      std::lock_guard lock(mutex_);
      shutdown(kill_switch_, SHUT_RDWR);
    }
    const double begin = steady_seconds();
    while (children == before && fault().ok() && steady_seconds() < begin + 10) pause_ms(1);
  }
  bool wait_for_ends(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return ends_ >= count; });
  }
  bool wait_for_fault() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return !fault_.ok(); });
  }
  Status fault() {
    std::lock_guard lock(mutex_);
    return fault_;
  }
  size_t tokens_so_far() {
    std::lock_guard lock(mutex_);
    return num_tokens_;
  }
  void wait_for_tokens(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(30), [&] { return num_tokens_ >= count; });
  }

  struct Answer {
    std::vector<TokenId> tokens;
    FinishReason finish = FinishReason::kNone;
    std::string error;
    std::set<int> cached;
    std::vector<int> prompt_positions;
  };
  std::map<std::pair<int64_t, int>, Answer> answers;  // stable after wait_for_ends()
  std::atomic<bool> stillborn = false;
  std::atomic<int> children = 0;
  std::string progress;
  Status status;

 private:
  void take(std::vector<SequenceEvent> events) {
    std::lock_guard lock(mutex_);
    for (SequenceEvent& event : events) {
      Answer& answer = answers[{event.request.value, event.index}];
      EXPECT_EQ(answer.finish, FinishReason::kNone) << "an event after the end";
      if (event.has_token) {
        answer.tokens.push_back(event.token.token);
        ++num_tokens_;
      }
      for (size_t i = 0; i < event.prompt_logprobs.size(); ++i)
        answers[{event.request.value, 0}].prompt_positions.push_back(event.prompt_logprobs_first +
                                                                     static_cast<int>(i));
      answer.cached.insert(event.num_cached_tokens);
      answer.finish = event.finish;
      answer.error = event.error;
      if (event.finish != FinishReason::kNone) ++ends_;
    }
    changed_.notify_all();
  }

  void take(const Status& fault) {
    std::lock_guard lock(mutex_);
    fault_ = fault;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Status fault_;
  size_t ends_ = 0;
  size_t num_tokens_ = 0;
  int kill_switch_ = -1;                 // of the child started last; guarded by mutex_
  std::unique_ptr<ChildEngine> engine_;  // last: its events use the rest
};

inline std::shared_ptr<Request> request_of(int64_t key, int prompt, int max_tokens, int n = 1) {
  auto request = std::make_shared<Request>();
  request->key = RequestKey(key);
  std::vector<TokenId> tokens;
  for (int i = 0; i < prompt; ++i) tokens.push_back(static_cast<TokenId>((key * 31 + i) % kVocab));
  request->prompt = std::make_shared<const std::vector<TokenId>>(std::move(tokens));
  auto params = std::make_shared<SamplingParams>();
  params->n = n;
  request->params = params;
  request->max_tokens = max_tokens;
  request->seed = static_cast<uint64_t>(key * 1000);
  return request;
}

// What one answer is when nothing ever happens to it.
inline std::vector<TokenId> undisturbed(const Request& request, int index) {
  uint64_t history = start_history("");
  for (const TokenId token : *request.prompt) history = extend_history(history, token);
  std::vector<TokenId> tokens;
  for (int i = 0; i < request.max_tokens; ++i) {
    tokens.push_back(draw_token(history, request.seed + static_cast<uint64_t>(index), kVocab));
    history = extend_history(history, tokens.back());
  }
  return tokens;
}

}  // namespace octavo
