// Tests of the front half over an engine whose device fails: what its clients see.
#include "engine/in_process_client.h"

#include <gtest/gtest.h>

#include "base/log.h"
#include "engine/engine.h"
#include "engine/testing_fake_runner.h"

namespace octavo {
namespace {

constexpr int kVocab = 64;

class KeepingSink : public StreamSink {
 public:
  bool on_output(RequestOutput output) override {
    std::lock_guard lock(mutex_);
    for (const CompletionOutput& c : output.outputs) num_tokens_ += c.token_ids.size();
    last_ = std::move(output);
    changed_.notify_all();
    return true;
  }
  RequestOutput wait_for_end() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(20), [&] { return last_.finished; });
    return last_;
  }
  void wait_for_tokens(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(20), [&] { return num_tokens_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  RequestOutput last_;
  size_t num_tokens_ = 0;
};

class ClientOverFailingDevice : public testing::Test {
 protected:
  void start(std::unique_ptr<FakeRunner> runner, double step_timeout = 0) {
    set_log_level(LogLevel::kOff);
    ModelInfo model;
    model.vocab_size = kVocab;
    model.max_model_len = 1024;
    SchedulerConfig config;
    config.max_num_seqs = 4;
    config.max_model_len = model.max_model_len;
    config.vocab_size = kVocab;
    client_ = std::make_unique<InProcessClient>(
        model, EngineOptions(), text::TextModel::without_tokenizer(kVocab),
        [&](EngineCore::Listener listener) {
          return std::make_unique<Engine>(
              config, std::make_unique<KvManager>(std::vector<CacheGroupSpec>{{512, 0}}, 16, true),
              std::make_unique<WorkerExecutor>(std::move(runner), 2), std::move(listener),
              step_timeout);
        });
  }
  std::shared_ptr<KeepingSink> submit(int max_tokens) {
    auto sink = std::make_shared<KeepingSink>();
    GenerateRequest request;
    request.prompt_token_ids = {1, 2, 3};
    request.sampling.max_tokens = max_tokens;
    request.sampling.ignore_eos = true;
    const auto id = client_->submit(std::move(request), sink);
    EXPECT_TRUE(id.ok()) << id.status().message();
    return sink;
  }
  // Running and waiting requests alike end with the reason, health tells it, and nobody new comes
  // in.
  void expect_failure(const std::vector<std::shared_ptr<KeepingSink>>& sinks,
                      const std::string& reason) {
    for (const auto& sink : sinks) {
      const RequestOutput last = sink->wait_for_end();
      EXPECT_TRUE(last.finished);
      EXPECT_EQ(last.error.code(), StatusCode::kUnavailable);
      EXPECT_EQ(last.error.message(), reason);
      ASSERT_EQ(last.outputs.size(), 1u);
      EXPECT_EQ(last.outputs[0].finish_reason, FinishReason::kError);
    }
    EXPECT_EQ(client_->health().code(), StatusCode::kUnavailable);
    EXPECT_EQ(client_->health().message(), reason);
    GenerateRequest late;
    late.prompt_token_ids = {1};
    const auto refused = client_->submit(std::move(late), std::make_shared<KeepingSink>());
    EXPECT_EQ(refused.status().code(), StatusCode::kUnavailable);
    EXPECT_EQ(refused.status().message(), reason);
  }
  std::unique_ptr<InProcessClient> client_;
};

TEST_F(ClientOverFailingDevice, AFailedStepEndsItsRequestsAndOthersAreServed) {
  auto runner = std::make_unique<FakeRunner>();
  runner->fail_step = 2;
  start(std::move(runner));
  const RequestOutput failed = submit(100)->wait_for_end();
  EXPECT_EQ(failed.error.code(), StatusCode::kInternal);
  EXPECT_NE(failed.error.message().find("op: the fake device failed"), std::string::npos);
  EXPECT_TRUE(client_->health().ok());
  const RequestOutput served = submit(5)->wait_for_end();
  EXPECT_TRUE(served.error.ok());
  EXPECT_EQ(served.outputs[0].finish_reason, FinishReason::kLength);
}

TEST_F(ClientOverFailingDevice, ALostDeviceEndsAllRequestsAndTheService) {
  auto runner = std::make_unique<FakeRunner>(1e-3);
  runner->fail_step = 40;
  runner->device_is_lost = true;
  start(std::move(runner));
  std::vector<std::shared_ptr<KeepingSink>> sinks;
  for (int i = 0; i < 9; ++i) sinks.push_back(submit(500));  // four run, five wait
  expect_failure(sinks,
                 "the engine has failed: step 40 (4 rows, 4 tokens): op: the fake device is lost");
}

TEST_F(ClientOverFailingDevice, AStepThatHangsEndsAllRequestsAlthoughTheEngineIsStuck) {
  auto runner = std::make_unique<FakeRunner>(1e-3);
  runner->hang_step = 30;
  FakeRunner& device = *runner;
  start(std::move(runner), /*step_timeout=*/0.2);
  std::vector<std::shared_ptr<KeepingSink>> sinks;
  for (int i = 0; i < 9; ++i) sinks.push_back(submit(500));
  expect_failure(sinks,
                 "the engine has failed: step 30 (4 rows, 4 tokens) has not ended within 0.2 s "
                 "(--step-timeout)");
  device.release();
  client_->shutdown(0);
}

// Takes everything and does nothing: a core that hangs.
class SilentCore final : public EngineCore {
 public:
  void add(std::shared_ptr<const Request>) override {}
  void cancel(RequestKey) override {}
  void finish(RequestKey, int) override {}
  void reset_prefix_cache() override {}
  bool takes_maskers() const override { return true; }
  void stop() override {}
  EngineStats stats() const override { return {}; }
  void inspect(StateReader reader) override { reader(nullptr); }
};

TEST(InProcessClient, ARequestThatComesWhileTheEngineFailsEndsToo) {
  ModelInfo model;
  model.vocab_size = kVocab;
  model.max_model_len = 1024;
  const std::string long_id(16 << 20, 'x');  // copied, it makes submit() slow
  for (int attempt = 0; attempt < 40; ++attempt) {
    EngineCore::Listener listener;
    InProcessClient client(model, EngineOptions(), text::TextModel::without_tokenizer(kVocab),
                           [&](EngineCore::Listener given) {
                             listener = std::move(given);
                             return std::make_unique<SilentCore>();
                           });
    GenerateRequest request;
    request.prompt_token_ids = {1, 2, 3};
    request.request_id = long_id;
    std::atomic<bool> submitting = false;
    std::thread failing([&] {
      while (!submitting) std::this_thread::yield();
      std::this_thread::sleep_for(std::chrono::microseconds(500 * attempt));
      listener.on_fault(unavailable("the device is lost"));
    });
    const auto sink = std::make_shared<KeepingSink>();
    submitting = true;
    const bool taken = client.submit(std::move(request), sink).ok();
    failing.join();
    if (taken) {
      ASSERT_TRUE(sink->wait_for_end().finished) << "it waits for ever";
    }
  }
}

}  // namespace
}  // namespace octavo
