#include "engine/process/child_engine.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>

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

bool all_ended(const Request& request) {
  const auto& answers = request.progress.answers;
  return std::all_of(answers.begin(), answers.end(), [](const auto& a) { return a.ended; });
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
  auto kept = std::make_shared<Request>(*request);
  kept->progress.answers.resize(static_cast<size_t>(std::max(1, kept->params->n)));
  std::lock_guard lock(mutex_);
  send(MessageType::kAdd, *request);
  books_.emplace(kept->key, std::move(kept));
}

void ChildEngine::cancel(RequestKey request) {
  std::lock_guard lock(mutex_);
  if (books_.erase(request) > 0) send(MessageType::kCancel, request);
}

void ChildEngine::finish(RequestKey request, int index) {
  std::lock_guard lock(mutex_);
  const auto found = books_.find(request);
  if (found == books_.end()) return;
  found->second->progress.answers[static_cast<size_t>(index)].ended = true;
  if (all_ended(*found->second)) books_.erase(found);
  send(MessageType::kFinish, request, index);
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
  if (!connected_) {
    stats.running = 0;
    stats.waiting = static_cast<int>(books_.size());
  }
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
    std::erase_if(events, [this](const SequenceEvent& event) { return !enter(event); });
  }
  if (!events.empty()) listener_.on_events(std::move(events));
  return ok_status();
}

// Writes an event into the books; false if it concerns nobody there. Under mutex_.
bool ChildEngine::enter(const SequenceEvent& event) {
  const auto found = books_.find(event.request);
  if (found == books_.end()) return false;
  RequestProgress& progress = found->second->progress;
  if (event.index < 0 || static_cast<size_t>(event.index) >= progress.answers.size()) return false;
  progress.admitted = true;
  progress.num_cached = event.num_cached_tokens;
  progress.first_scheduled = event.first_scheduled;
  if (!event.prompt_logprobs.empty()) {
    progress.next_prompt_logprob =
        event.prompt_logprobs_first + static_cast<int>(event.prompt_logprobs.size());
  }
  RequestProgress::Answer& answer = progress.answers[static_cast<size_t>(event.index)];
  if (event.has_token) answer.tokens.push_back(event.token.token);
  if (event.finish != FinishReason::kNone) answer.ended = true;
  if (all_ended(*found->second)) books_.erase(found);
  return true;
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

bool ChildEngine::may_restart() {
  const double now = steady_seconds();
  while (!restarts_.empty() && restarts_.front() < now - kRestartWindowSeconds)
    restarts_.pop_front();
  if (restarts_.size() >= kMaxRestarts) return false;
  restarts_.push_back(now);
  return true;
}

void ChildEngine::replay() {
  std::lock_guard lock(mutex_);
  connected_ = !stopping_;
  for (const auto& [key, request] : books_) send(MessageType::kAdd, *request);
  if (!books_.empty())
    log_info("engine", std::to_string(books_.size()) + " requests in flight go on");
}

void ChildEngine::give_up(const Status& why) {
  listener_.on_fault(unavailable(why.message() + "; it was started again " +
                                 std::to_string(kMaxRestarts) + " times within " +
                                 std::to_string(static_cast<int>(kRestartWindowSeconds)) + " s"));
}

}  // namespace octavo
