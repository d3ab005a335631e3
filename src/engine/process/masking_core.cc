#include "engine/process/masking_core.h"

#include <pthread.h>

#include "base/status_macros.h"

namespace octavo {

MaskingCore::MaskingCore(std::unique_ptr<EngineCore> core, const ModelInfo& model,
                         LoadText load_text,
                         std::function<void(std::vector<SequenceEvent>)> on_events)
    : core_(std::move(core)),
      model_(model),
      load_text_(std::move(load_text)),
      on_events_(std::move(on_events)),
      thread_([this] { run(); }) {
  pthread_setname_np(thread_.native_handle(), "octavo-masker");
}

MaskingCore::~MaskingCore() {
  stop();
}

void MaskingCore::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  core_->stop();
}

void MaskingCore::add(std::shared_ptr<const Request> request) {
  if (!MaskerFactory::needs_masker(*request->params)) return core_->add(std::move(request));
  {
    const std::lock_guard lock(mutex_);
    pending_.emplace(request->key, std::vector<int>());
    waiting_.push_back(std::move(request));
  }
  changed_.notify_one();
}

void MaskingCore::cancel(RequestKey request) {
  const std::lock_guard lock(mutex_);
  if (pending_.erase(request) == 0) core_->cancel(request);
}

void MaskingCore::finish(RequestKey request, int index) {
  const std::lock_guard lock(mutex_);
  const auto found = pending_.find(request);
  if (found == pending_.end()) return core_->finish(request, index);
  found->second.push_back(index);
}

void MaskingCore::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    const std::shared_ptr<const Request> request = std::move(waiting_.front());
    waiting_.pop_front();
    if (!pending_.contains(request->key)) continue;
    lock.unlock();
    auto made = make_masker(*request);
    lock.lock();
    pass_on(request, std::move(made));
  }
}

StatusOr<MaskerFactory::MakeMasker> MaskingCore::make_masker(const Request& request) {
  if (!maskers_) {
    ASSIGN_OR_RETURN(text_, load_text_());
    maskers_ = std::make_unique<MaskerFactory>(text_->tokenizer(), model_.vocab_size,
                                               model_.eos_token_ids);
  }
  return maskers_->make(*request.params);
}

// Under mutex_, so that no cancel() comes between.
void MaskingCore::pass_on(const std::shared_ptr<const Request>& request,
                          StatusOr<MaskerFactory::MakeMasker> made) {
  const auto pending = pending_.extract(request->key);
  if (pending.empty()) return;  // cancelled
  if (made.ok()) {
    auto masked = std::make_shared<Request>(*request);
    masked->make_masker = std::move(*made);
    core_->add(std::move(masked));
    for (const int index : pending.mapped()) core_->finish(request->key, index);
    return;
  }
  on_events_(failures_of(*request, made.status()));
}

}  // namespace octavo
