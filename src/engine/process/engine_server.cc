#include "engine/process/engine_server.h"

#include <sys/socket.h>

#include "base/log.h"
#include "base/status_macros.h"

namespace octavo {
namespace {

Status breach(MessageType type) {
  return data_loss("a frame of type " + std::to_string(static_cast<int>(type)) +
                   " that does not belong here, or is malformed");
}

// What Scheduler::add() requires of a request and the parent has checked; a frame is not believed.
bool is_sound(const Request& request, const ModelInfo& model) {
  const int n = request.params->n;
  const size_t answers = request.progress.answers.size();
  if (!request.key.valid() || request.prompt->empty() || n < 1) return false;
  const auto room = static_cast<size_t>(model.max_model_len);
  if (request.prompt->size() >= room || request.max_tokens < 1) return false;
  if (answers == 0) return true;
  if (answers != static_cast<size_t>(n)) return false;
  bool any_left = false;
  for (const RequestProgress::Answer& answer : request.progress.answers) {
    any_left |= !answer.ended;
    if (!answer.ended && answer.tokens.size() >= static_cast<size_t>(request.max_tokens))
      return false;
  }
  return any_left && request.progress.next_prompt_logprob >= 1;
}

}  // namespace

EngineServer::~EngineServer() {
  if (loaded_.core) loaded_.core->stop();
}

Status EngineServer::load() {
  Frame frame;
  EngineStart start;
  if (!reader_.next(frame)) return unavailable("the parent is gone");
  if (frame.type != MessageType::kStart || !frame.read(start)) return breach(frame.type);
  if (start.log_level >= 0 && start.log_level <= static_cast<int32_t>(LogLevel::kOff))
    set_log_level(static_cast<LogLevel>(start.log_level));
  auto loaded = factory_(
      start.options,
      {
          .on_events =
              [this](std::vector<SequenceEvent> events) { send_events(std::move(events)); },
          .on_fault = [this](const Status& fault) { end_with(fault); },
      },
      [this](const std::string& line) { writer_.send(make_frame(MessageType::kProgress, line)); });
  if (!loaded.ok()) {
    writer_.send(make_frame(MessageType::kFailed, loaded.status()));
    writer_.flush();
    return loaded.status();
  }
  loaded_ = std::move(*loaded);
  writer_.send(make_frame(MessageType::kReady, loaded_.model));
  return ok_status();
}

Status EngineServer::run() {
  RETURN_IF_ERROR(load());
  Frame frame;
  while (reader_.next(frame)) RETURN_IF_ERROR(handle(frame));
  std::lock_guard lock(mutex_);
  return fault_.ok() ? reader_.error() : fault_;
}

// Encoded by the writer's thread: the core's plans the next step.
void EngineServer::send_events(std::vector<SequenceEvent> events) {
  writer_.send([this, events = std::move(events)]() mutable {
    EngineCore& core = *loaded_.core;
    const auto stop_computing = [&](const SequenceEvent& failure) {
      core.finish(failure.request, failure.index);
    };
    return make_event_frames(std::move(events), core.stats(), stop_computing, max_event_bytes_);
  });
}

// The peer hears of the fault and of nothing after it: another child goes on from the tokens it
// has, so the failures of single requests that follow must not reach it.
void EngineServer::end_with(const Status& fault) {
  {
    std::lock_guard lock(mutex_);
    fault_ = fault;
  }
  writer_.send(make_frame(MessageType::kFailed, fault));
  writer_.flush();
  shutdown(fd_, SHUT_RDWR);
}

Status EngineServer::handle(const Frame& frame) {
  EngineCore& core = *loaded_.core;
  RequestKey key;
  int index = 0;
  int64_t id = 0;
  switch (frame.type) {
    case MessageType::kAdd: {
      auto request = std::make_shared<Request>();
      if (!frame.read(*request) || !is_sound(*request, loaded_.model)) break;
      core.add(std::move(request));
      return ok_status();
    }
    case MessageType::kCancel:
      if (!frame.read(key)) break;
      core.cancel(key);
      return ok_status();
    case MessageType::kFinish:
      if (!frame.read(key, index)) break;
      core.finish(key, index);
      return ok_status();
    case MessageType::kResetPrefixCache:
      core.reset_prefix_cache();
      return ok_status();
    case MessageType::kAskStats:
      if (!frame.read(id)) break;
      writer_.send(make_frame(MessageType::kStats, id, core.stats()));
      return ok_status();
    case MessageType::kAskState:
      if (!frame.read()) break;
      core.inspect([this](std::shared_ptr<const EngineState> state) {
        if (state) writer_.send(make_frame(MessageType::kState, *state));
      });
      return ok_status();
    default:
      break;
  }
  return breach(frame.type);
}

}  // namespace octavo
