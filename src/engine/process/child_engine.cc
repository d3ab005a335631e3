#include "engine/process/child_engine.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace octavo {
namespace {

constexpr double kGraceSeconds = 2;
constexpr auto kStatsPatience = std::chrono::milliseconds(200);

LogLevel log_level() {
  LogLevel level = LogLevel::kDebug;
  while (level != LogLevel::kOff && !log_enabled(level))
    level = static_cast<LogLevel>(static_cast<int>(level) + 1);
  return level;
}

void add_counters(EngineStats& total, const EngineStats& more) {
  total.num_preemptions += more.num_preemptions;
  total.prompt_tokens += more.prompt_tokens;
  total.generation_tokens += more.generation_tokens;
  total.prefix_cache_queries += more.prefix_cache_queries;
  total.prefix_cache_hits += more.prefix_cache_hits;
  total.steps += more.steps;
  total.engine_cpu_seconds += more.engine_cpu_seconds;
}

Status broken_frame() {
  return data_loss("it sent a frame that does not belong here, or is malformed");
}

}  // namespace

ChildEngine::Link::Link(std::unique_ptr<ChildProcess> child)
    : process(std::move(child)), reader(process->socket()), writer(process->socket()) {}

ChildEngine::ChildEngine(const EngineOptions& options, ChildLauncher launcher)
    : options_(options), launcher_(std::move(launcher)) {}

StatusOr<std::unique_ptr<ChildEngine>> ChildEngine::start(
    const EngineOptions& options, ChildLauncher launcher,
    const std::function<void(const std::string&)>& progress) {
  std::unique_ptr<ChildEngine> engine(new ChildEngine(options, std::move(launcher)));
  ASSIGN_OR_RETURN(engine->model_, engine->load_child(progress));
  // Every later child takes on the requests of this one, so it gets the same room.
  engine->options_.cache.kv_cache_memory_bytes = engine->model_.kv_cache_bytes;
  engine->options_.model.max_model_len = engine->model_.max_model_len;
  return engine;
}

ChildEngine::~ChildEngine() {
  stop();
}

void ChildEngine::begin(Listener listener) {
  listener_ = std::move(listener);
  books_.emplace(model_.max_num_seqs, options_.scheduler.policy == "priority"
                                          ? SchedulingPolicy::kPriority
                                          : SchedulingPolicy::kFcfs);
  connected_ = true;
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "octavo-child");
}

// A new link_ whose child has loaded the model.
StatusOr<ModelInfo> ChildEngine::load_child(
    const std::function<void(const std::string&)>& progress) {
  ASSIGN_OR_RETURN(auto process, launcher_());
  auto made = std::make_unique<Link>(std::move(process));
  Link& link = *made;
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return cancelled("the engine is being stopped");
    link_ = std::move(made);
  }
  link.writer.send(
      make_frame(MessageType::kStart, EngineStart{options_, static_cast<int32_t>(log_level())}));
  Frame frame;
  while (link.reader.next(frame)) {
    std::string line;
    ModelInfo model;
    Status failure;
    if (frame.type == MessageType::kProgress && frame.read(line)) {
      if (progress) progress(line);
    } else if (frame.type == MessageType::kReady && frame.read(model)) {
      return model;
    } else if (frame.type == MessageType::kFailed && frame.read(failure) && !failure.ok()) {
      return failure;
    } else {
      return broken_frame().with_context("the engine process");
    }
  }
  return unavailable("the engine process " + link.process->end(kGraceSeconds) +
                     " before its model was loaded");
}

template <typename... Ts>
void ChildEngine::send(MessageType type, const Ts&... values) const {
  if (connected_) link_->writer.send(make_frame(type, values...));
}

void ChildEngine::add(std::shared_ptr<const Request> request) {
  {
    std::lock_guard lock(mutex_);
    if (!books_->was_culprit(*request, steady_seconds())) {
      books_->add(std::move(request));
      return hand_over();
    }
  }
  listener_.on_events(
      failures_of(*request, internal_error("a request like this one ended the engine process each "
                                           "time it was computed, a short while ago")));
}

void ChildEngine::cancel(RequestKey request) {
  std::lock_guard lock(mutex_);
  if (!books_->erase(request)) return;
  send(MessageType::kCancel, request);
  hand_over();
}

void ChildEngine::finish(RequestKey request, int index) {
  std::lock_guard lock(mutex_);
  if (!books_->finish(request, index)) return;
  send(MessageType::kFinish, request, index);
  hand_over();
}

// Gives the child what it may have now. Under mutex_.
void ChildEngine::hand_over() {
  if (!connected_) return;
  for (const auto& request : books_->take_ready()) send(MessageType::kAdd, *request);
}

void ChildEngine::reset_prefix_cache() {
  std::lock_guard lock(mutex_);
  send(MessageType::kResetPrefixCache);
}

void ChildEngine::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    connected_ = false;
    if (link_) link_->process->disconnect();
  }
  stats_arrived_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (link_) link_->process->end(kGraceSeconds);
  inspections_.close();
}

EngineStats ChildEngine::stats() const {
  std::unique_lock lock(mutex_);
  const int64_t mine = ++stats_asked_;
  send(MessageType::kAskStats, mine);
  stats_arrived_.wait_for(lock, kStatsPatience,
                          [&] { return !connected_ || stats_answered_ >= mine; });
  return current_stats();
}

void ChildEngine::inspect(StateReader reader) {
  if (!inspections_.ask(std::move(reader))) return;
  {
    std::lock_guard lock(mutex_);
    if (connected_) return send(MessageType::kAskState);
  }
  inspections_.answer(nullptr);
}

// Under mutex_.
EngineStats ChildEngine::current_stats() const {
  EngineStats stats = child_stats_;
  if (!connected_) stats.running = stats.waiting = 0;
  if (books_)
    stats.waiting += static_cast<int>(connected_ ? books_->num_waiting() : books_->size());
  add_counters(stats, finished_children_);
  return stats;
}

void ChildEngine::run() {
  while (true) {
    Status why = serve_child();
    if (!replace_child(std::move(why))) return;
  }
}

// Reads the child's frames until it ends; returns the reason that is known, ok if none is.
Status ChildEngine::serve_child() {
  Link& link = *link_;  // only this thread replaces it
  Frame frame;
  while (link.reader.next(frame)) {
    EngineStats stats;
    int64_t id = 0;
    Status failure;
    if (frame.type == MessageType::kEvents) {
      RETURN_IF_ERROR(take_events(frame));
    } else if (frame.type == MessageType::kStats && frame.read(id, stats)) {
      std::lock_guard lock(mutex_);
      child_stats_ = stats;
      stats_answered_ = id;
      stats_arrived_.notify_all();
    } else if (auto state = std::make_shared<EngineState>();
               frame.type == MessageType::kState && frame.read(*state)) {
      inspections_.answer(std::move(state));
    } else if (frame.type == MessageType::kFailed && frame.read(failure)) {
      return failure;
    } else {
      return broken_frame();
    }
  }
  return link.reader.error();
}

Status ChildEngine::take_events(const Frame& frame) {
  EngineStats stats;
  std::vector<SequenceEvent> events;
  if (!frame.read(stats, events)) return broken_frame();
  {
    std::lock_guard lock(mutex_);
    child_stats_ = stats;
    std::erase_if(events, [this](const SequenceEvent& event) { return !books_->enter(event); });
    hand_over();
  }
  if (events.empty()) return ok_status();
  served_ |= std::any_of(events.begin(), events.end(), [](const auto& e) { return e.has_token; });
  listener_.on_events(std::move(events));
  return ok_status();
}

// The child has died: starts others until one lives. False: the engine is stopped, or gives up.
bool ChildEngine::replace_child(Status why) {
  while (true) {
    bury_child(why);
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return false;
    }
    log_error("engine", why.message());
    end_culprit(why);
    if (!may_restart()) {
      give_up(why);
      return false;
    }
    const double begin = steady_seconds();
    const auto loaded = load_child([](const std::string& line) { log_debug("engine", line); });
    if (loaded.ok()) {
      replay();
      log_info("engine", "a new engine process serves after " +
                             std::to_string(static_cast<int>((steady_seconds() - begin) * 1000)) +
                             " ms");
      return true;
    }
    why = loaded.status();
  }
}

// Ends what is left of the child, and completes the reason of its death.
void ChildEngine::bury_child(Status& why) {
  std::unique_ptr<Link> dead;
  {
    std::lock_guard lock(mutex_);
    connected_ = false;
    dead = std::move(link_);
    add_counters(finished_children_, child_stats_);
    child_stats_ = {};
  }
  stats_arrived_.notify_all();
  inspections_.answer(nullptr);
  if (!dead) return;
  // One that closed its end is on its way; one that is being disowned may hang.
  const std::string ending = dead->process->end(why.ok() ? kGraceSeconds : 0.5);
  const std::string who = "the engine " + dead->process->name() + " " + ending;
  why = unavailable(why.ok() ? who : who + ": " + why.message());
}

// Ends the request that the child died of, if one is known. It costs nobody else the engine.
void ChildEngine::end_culprit(const Status& why) {
  std::shared_ptr<const Request> culprit;
  {
    std::lock_guard lock(mutex_);
    culprit = books_->child_died(steady_seconds());
  }
  if (!culprit) return;
  if (std::exchange(served_, false)) restarts_.clear();
  const std::string error =
      "computing this request ends the engine process each time, at last with no other request in "
      "it: " +
      why.message();
  log_error("engine", "request " + culprit->id + " (" + std::to_string(culprit->prompt->size()) +
                          " prompt tokens) is ended: " + error);
  listener_.on_events(failures_of(*culprit, internal_error(error)));
}

bool ChildEngine::may_restart() {
  const double now = steady_seconds();
  while (!restarts_.empty() && restarts_.front() < now - kRestartWindowSeconds)
    restarts_.pop_front();
  int most = kMaxRestarts;
  {
    std::lock_guard lock(mutex_);
    if (books_->suspects_wait()) most += kMoreForSuspects;
  }
  if (restarts_.size() >= static_cast<size_t>(most)) return false;
  restarts_.push_back(now);
  return true;
}

void ChildEngine::replay() {
  std::lock_guard lock(mutex_);
  connected_ = !stopping_;
  hand_over();
  if (books_->size() == 0) return;
  std::string line = std::to_string(books_->size()) + " requests in flight go on";
  if (books_->num_waiting() > 0) line += ", one by one at first: one of them may kill the process";
  log_info("engine", line);
}

void ChildEngine::give_up(const Status& why) {
  listener_.on_fault(unavailable(why.message() + "; it was started again " +
                                 std::to_string(restarts_.size()) + " times within " +
                                 std::to_string(static_cast<int>(kRestartWindowSeconds)) + " s"));
}

}  // namespace octavo
