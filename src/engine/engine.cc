#include "engine/engine.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

namespace octavo {
namespace {

// The failure of a step, with its size and, where memory ran out, what leaves more of it.
Status step_failure(const Status& status, const BatchPlan& plan) {
  const Status failure = status.with_context(describe_step(plan));
  if (failure.code() != StatusCode::kResourceExhausted) return failure;
  return resource_exhausted(failure.message() +
                            "; leave the steps more with a smaller --kv-cache-memory-bytes, or "
                            "make them smaller with --max-num-batched-tokens and --max-num-seqs");
}

}  // namespace

Engine::Engine(const SchedulerConfig& config, std::unique_ptr<KvManager> cache,
               std::unique_ptr<Executor> executor, Listener listener, double step_timeout_seconds)
    : cache_(std::move(cache)),
      scheduler_(config, *cache_),
      executor_(std::move(executor)),
      listener_(std::move(listener)) {
  if (step_timeout_seconds > 0) {
    watchdog_ = std::make_unique<StepWatchdog>(step_timeout_seconds, [this](std::string hang) {
      report_fault(unavailable(std::move(hang)));
    });
  }
  publish_stats();
  stats_.engine_cpu_seconds = 0;  // not this thread's
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "octavo-engine");
}

Engine::~Engine() {
  stop();
}

void Engine::post(std::function<void()> command, int sequences) {
  {
    std::lock_guard lock(mutex_);
    inbox_.push_back(std::move(command));
    sequences_in_inbox_ += sequences;
  }
  inbox_ready_.notify_one();
}

void Engine::add(std::shared_ptr<const Request> request) {
  const int sequences = request->params->n;
  post([this, request = std::move(request)] { scheduler_.add(request); }, sequences);
}
void Engine::cancel(RequestKey request) {
  post([this, request] { scheduler_.cancel(request); });
}
void Engine::finish(RequestKey request, int index) {
  post([this, request, index] { scheduler_.finish(request, index); });
}
void Engine::reset_prefix_cache() {
  post([this] { cache_->reset_prefix_cache(); });
}

void Engine::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  inbox_ready_.notify_one();
  if (thread_.joinable()) join();
}

// A device that never answers would keep the engine thread, and with it this process, for ever.
void Engine::join() {
  constexpr auto kPatience = std::chrono::seconds(3);
  {
    std::unique_lock lock(mutex_);
    while (!end_reached_.wait_for(lock, kPatience, [this] { return ended_; })) {
      if (!watchdog_ || !watchdog_->fired()) continue;
      log_error("engine", "the device does not answer: ending without clearing up");
      _exit(1);
    }
  }
  thread_.join();
}

void Engine::report_fault(const Status& fault) {
  if (faulted_.exchange(true)) return;
  log_error("engine", fault.message());
  if (listener_.on_fault) listener_.on_fault(fault);
}

EngineStats Engine::stats() const {
  std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  stats.waiting += sequences_in_inbox_;
  return stats;
}

void Engine::inspect(StateReader reader) {
  if (!inspections_.ask(std::move(reader))) return;
  post([this] { inspections_.answer(make_state()); });
}

std::shared_ptr<const EngineState> Engine::make_state() const {
  auto state = std::make_shared<EngineState>();
  const SchedulerStats stats = scheduler_.stats();
  state->running = stats.running;
  state->waiting = stats.waiting;
  state->cache = cache_->maps();
  state->sequences = scheduler_.view(EngineState::kMaxSequences);
  return state;
}

void Engine::run() {
  while (take_commands()) step();
  while (!in_flight_.empty()) read_oldest();
  inspections_.close();
  std::lock_guard lock(mutex_);
  ended_ = true;
  end_reached_.notify_all();
}

// Runs what the inbox holds, parking while there is nothing else to do. False: stop.
bool Engine::take_commands() {
  std::vector<std::function<void()>> commands;
  {
    std::unique_lock lock(mutex_);
    const bool busy = !in_flight_.empty() || scheduler_.has_unfinished();
    if (!busy) inbox_ready_.wait(lock, [this] { return stopping_ || !inbox_.empty(); });
    if (stopping_) return false;
    commands.swap(inbox_);
    stats_.waiting += std::exchange(sequences_in_inbox_, 0);
  }
  for (auto& command : commands) command();
  if (!commands.empty()) publish_stats();
  return true;
}

void Engine::step() {
  auto plan = std::make_shared<const BatchPlan>(scheduler_.schedule(steady_seconds()));
  const bool submitted = !plan->empty();
  if (submitted) {
    ++steps_;
    executor_->submit(plan);
    in_flight_.push_back({plan, steady_seconds()});
  }
  // Steps before the newest are read until another may be submitted; then the newest may draw its
  // masked rows.
  const auto depth = static_cast<size_t>(executor_->max_in_flight());
  while (in_flight_.size() > 1 && in_flight_.size() >= depth) read_oldest();
  if (submitted) executor_->sample(plan->step, scheduler_.make_masks(*plan));
  if (!in_flight_.empty() && (!submitted || in_flight_.size() >= depth)) read_oldest();

  for (SequenceEvent& event : scheduler_.take_events()) events_.push_back(std::move(event));
  publish_stats();  // first: who reads an event may ask for what it counts in
  if (!events_.empty()) {
    listener_.on_events(std::move(events_));
    events_.clear();
  }
  if (!submitted && in_flight_.empty() && scheduler_.has_unfinished()) {
    // Everything waits for room that only a cancel or a new event can make.
    std::unique_lock lock(mutex_);
    inbox_ready_.wait_for(lock, std::chrono::milliseconds(5),
                          [this] { return stopping_ || !inbox_.empty(); });
  }
}

void Engine::read_oldest() {
  const Step step = std::move(in_flight_.front());
  const std::shared_ptr<const BatchPlan>& plan = step.plan;
  in_flight_.pop_front();
  if (watchdog_) watchdog_->begin(plan);
  StepResult result = executor_->wait();
  if (watchdog_) watchdog_->end();
  CHECK(result.step == plan->step);
  // The device began with it when it came, or was through with the one before.
  const double began = std::max(step.submitted, std::exchange(completed_, steady_seconds()));
  if (result.status.ok()) {
    scheduler_.observe(*plan, completed_ - began);
  } else {
    result.status = step_failure(result.status, *plan);
    if (result.device_lost()) {
      report_fault(result.status);
    } else {
      log_warning("engine", result.status.message());
    }
  }
  std::vector<SequenceEvent> events = scheduler_.commit(result);
  if (events_.empty()) {
    events_ = std::move(events);
    return;
  }
  events_.insert(events_.end(), std::make_move_iterator(events.begin()),
                 std::make_move_iterator(events.end()));
}

void Engine::publish_stats() {
  const SchedulerStats s = scheduler_.stats();
  const KvStats kv = cache_->stats();
  EngineStats stats;
  stats.running = s.running;
  stats.waiting = s.waiting;
  stats.kv_cache_usage = kv.total_blocks == 0 ? 0
                                              : 1.0 - static_cast<double>(kv.free_blocks) /
                                                          static_cast<double>(kv.total_blocks);
  stats.free_kv_blocks = kv.free_blocks;
  stats.num_preemptions = s.preemptions;
  stats.prompt_tokens = s.prompt_tokens;
  stats.generation_tokens = s.generation_tokens;
  stats.prefix_cache_queries = s.prefix_queries;
  stats.prefix_cache_hits = s.prefix_hits;
  stats.steps = steps_;
  stats.engine_cpu_seconds = thread_cpu_seconds();
  std::lock_guard lock(mutex_);
  stats_ = stats;
}

}  // namespace octavo
