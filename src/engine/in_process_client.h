// InProcessClient: the EngineClient whose front half lives in this process. It checks and tokenises
// what a request brings, gives it a key, and joins OutputProcessor and metrics with an EngineCore:
// an Engine of this process, or the ChildEngine that stands for one in another. Any thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "engine/engine_core.h"
#include "engine/engine_metrics.h"
#include "engine/masker_factory.h"
#include "engine/output_processor.h"
#include "octavo/engine_client.h"
#include "text/text_model.h"

namespace octavo {

class InProcessClient : public EngineClient {
 public:
  // Makes the core that talks to the listener given.
  using MakeCore = std::function<std::unique_ptr<EngineCore>(EngineCore::Listener)>;
  InProcessClient(ModelInfo model, const EngineOptions& options,
                  std::unique_ptr<text::TextModel> text, const MakeCore& make_core);
  ~InProcessClient() override;

  StatusOr<std::string> submit(GenerateRequest request, std::shared_ptr<StreamSink> sink) override {
    return submit_masked(std::move(request), std::move(sink), nullptr);
  }
  void cancel(const std::string& request_id) override;
  const ModelInfo& model() const override { return model_; }
  const Text& text() const override { return *text_; }
  EngineStats stats() const override { return engine_->stats(); }
  void inspect(StateReader reader) override { engine_->inspect(std::move(reader)); }
  Status health() const override;
  std::string metrics_text() const override;
  void reset_prefix_cache() override { engine_->reset_prefix_cache(); }
  void shutdown(double timeout_seconds) override;

  using MakeMasker = std::function<std::unique_ptr<TokenMasker>()>;
  // submit() for a request whose every sequence is constrained by a masker of its own, in place of
  // what its parameters ask for. Errors: also kUnimplemented, if the core takes none.
  StatusOr<std::string> submit_masked(GenerateRequest request, std::shared_ptr<StreamSink> sink,
                                      MakeMasker make_masker);

 private:
  StatusOr<std::shared_ptr<Request>> prepare(GenerateRequest request);
  Status check_length(const GenerateRequest& request, int& max_tokens) const;
  void forget(RequestKey key);
  void fail(const Status& fault);
  Status refusal() const;

  const ModelInfo model_;
  const EngineOptions options_;
  const std::unique_ptr<text::TextModel> text_;
  mutable EngineMetrics metrics_;
  MaskerFactory maskers_;

  mutable std::mutex mutex_;
  std::condition_variable idle_;
  std::unordered_map<RequestKey, std::string> live_;          // guarded by mutex_
  std::unordered_multimap<std::string, RequestKey> keys_of_;  // guarded by mutex_
  bool draining_ = false;                                     // guarded by mutex_
  bool stopped_ = false;                                      // guarded by mutex_
  Status fault_;                                              // guarded by mutex_: of the core
  std::atomic<int64_t> next_key_{0};

  std::unique_ptr<OutputProcessor> outputs_;  // must outlive engine_, which pushes into it
  std::unique_ptr<EngineCore> engine_;
};

}  // namespace octavo
