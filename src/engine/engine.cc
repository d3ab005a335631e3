#include "engine/engine.h"

#include <pthread.h>

#include <chrono>

#include "base/check.h"
#include "base/clock.h"

namespace octavo {

Engine::Engine(const SchedulerConfig& config, std::unique_ptr<KvManager> cache,
               std::unique_ptr<Executor> executor, EventHandler on_events)
    : cache_(std::move(cache)),
      scheduler_(config, *cache_),
      executor_(std::move(executor)),
      on_events_(std::move(on_events)) {
  publish_stats();
  stats_.engine_cpu_seconds = 0;  // not this thread's
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "octavo-engine");
}

Engine::~Engine() {
  stop();
}

void Engine::post(std::function<void()> command) {
  {
    std::lock_guard lock(mutex_);
    inbox_.push_back(std::move(command));
  }
  inbox_ready_.notify_one();
}

void Engine::add(std::shared_ptr<const Request> request) {
  post([this, request = std::move(request)] { scheduler_.add(request); });
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
  if (thread_.joinable()) thread_.join();
}

EngineStats Engine::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

void Engine::run() {
  while (take_commands()) step();
  while (!in_flight_.empty()) read_oldest();
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
    in_flight_.push_back(plan);
  }
  // Steps before the newest are read until another may be submitted; then the newest may draw its
  // masked rows.
  const auto depth = static_cast<size_t>(executor_->max_in_flight());
  while (in_flight_.size() > 1 && in_flight_.size() >= depth) read_oldest();
  if (submitted) executor_->sample(plan->step, scheduler_.make_masks(*plan));
  if (!in_flight_.empty() && (!submitted || in_flight_.size() >= depth)) read_oldest();

  for (SequenceEvent& event : scheduler_.take_events()) events_.push_back(std::move(event));
  if (!events_.empty()) {
    on_events_(std::move(events_));
    events_.clear();
  }
  publish_stats();
  if (!submitted && in_flight_.empty() && scheduler_.has_unfinished()) {
    // Everything waits for room that only a cancel or a new event can make.
    std::unique_lock lock(mutex_);
    inbox_ready_.wait_for(lock, std::chrono::milliseconds(5),
                          [this] { return stopping_ || !inbox_.empty(); });
  }
}

void Engine::read_oldest() {
  StepResult result = executor_->wait();
  CHECK(result.step == in_flight_.front()->step);
  in_flight_.pop_front();
  std::vector<SequenceEvent> events = scheduler_.commit(result);
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
