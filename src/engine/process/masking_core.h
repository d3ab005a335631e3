// MaskingCore: the EngineCore of a child process that makes the maskers which cannot cross the
// wire. Requests that need one wait for it on a thread of this core, `octavo-masker`, while others
// pass; everything else goes to the core within.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "engine/engine_core.h"
#include "engine/masker_factory.h"
#include "text/text_model.h"

namespace octavo {

class MaskingCore final : public EngineCore {
 public:
  using LoadText = std::function<StatusOr<std::unique_ptr<text::TextModel>>()>;

  // The tokenizer is loaded when the first request needs it. `on_events` is told of requests whose
  // masker cannot be made; the core within tells its listener of the rest.
  MaskingCore(std::unique_ptr<EngineCore> core, const ModelInfo& model, LoadText load_text,
              std::function<void(std::vector<SequenceEvent>)> on_events);
  ~MaskingCore() override;

  void add(std::shared_ptr<const Request> request) override;
  void cancel(RequestKey request) override;
  void finish(RequestKey request, int index) override;
  void reset_prefix_cache() override { core_->reset_prefix_cache(); }
  bool takes_maskers() const override { return true; }
  void stop() override;
  EngineStats stats() const override { return core_->stats(); }
  void inspect(StateReader reader) override { core_->inspect(std::move(reader)); }

 private:
  void run();
  StatusOr<MaskerFactory::MakeMasker> make_masker(const Request& request);
  void pass_on(const std::shared_ptr<const Request>& request,
               StatusOr<MaskerFactory::MakeMasker> made);

  const std::unique_ptr<EngineCore> core_;
  const ModelInfo model_;
  const LoadText load_text_;
  const std::function<void(std::vector<SequenceEvent>)> on_events_;
  std::unique_ptr<text::TextModel> text_;   // of the thread
  std::unique_ptr<MaskerFactory> maskers_;  // of the thread

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<const Request>> waiting_;  // guarded, as all below
  // Those waiting or being made, with the answers that have been finished meanwhile.
  std::map<RequestKey, std::vector<int>> pending_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace octavo
