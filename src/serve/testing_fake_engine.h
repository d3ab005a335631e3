// FakeEngine: an EngineClient for the server's tests. Its own thread makes one token per choice and
// step, a letter each: a, b, c …, or the bytes of a text that the test has chosen. It takes prompts
// of a byte-level tokenizer and records what happens to its requests.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "octavo/engine_client.h"

namespace octavo::serve {

// One token per byte; 256 is <s>, which encode() adds, 257 is </s>, 258 [TOOL_CALLS], which is a
// token only where it is all of the text. The chat template writes "role:
// content\n", and at its end what the variable `begin` says.
class ByteText final : public Text {
 public:
  StatusOr<std::vector<TokenId>> encode(std::string_view text,
                                        EncodeOptions options) const override;
  std::string decode(std::span<const TokenId> ids, bool skip_special_tokens) const override;
  std::string token_string(TokenId id) const override;
  bool is_special(TokenId id) const override { return id >= 256; }
  int vocab_size() const override { return 259; }
  bool has_chat_template() const override { return true; }
  std::string_view chat_template() const override { return chat_template_; }
  StatusOr<RenderedChat> render_chat(const ChatPrompt& prompt) const override;

  using OnEncode = std::function<void(std::string_view text)>;
  explicit ByteText(std::string chat_template, OnEncode on_encode = {})
      : chat_template_(std::move(chat_template)), on_encode_(std::move(on_encode)) {}

 private:
  std::string chat_template_;
  OnEncode on_encode_;
};

class FakeEngine final : public EngineClient {
 public:
  struct Options {
    double step_seconds = 0.0005;
    int max_model_len = 1000000;
    SamplingParams default_sampling;
    size_t text_repeat = 1;  // characters per token
    std::string says;        // its answers, a byte a token, instead of letters; then </s>
    FinishReason says_ends = FinishReason::kStop;  // with which reason
    std::string chat_template;          // what text() claims to have, for the choice of parsers
    int fail_at_token = -1;             // the engine fails the request at that token
    ByteText::OnEncode on_encode;       // called first thing by text().encode()
    std::function<void()> before_step;  // called by the engine's thread; may wait
  };
  explicit FakeEngine(Options options);
  FakeEngine() : FakeEngine(Options()) {}
  ~FakeEngine() override;

  StatusOr<std::string> submit(GenerateRequest request, std::shared_ptr<StreamSink> sink) override;
  void cancel(const std::string& request_id) override;
  const ModelInfo& model() const override { return info_; }
  const Text& text() const override { return text_; }
  EngineStats stats() const override;
  void inspect(StateReader reader) override;
  Status health() const override { return ok_status(); }
  std::string metrics_text() const override { return "vllm:num_requests_running 0\n"; }
  void reset_prefix_cache() override {}
  void shutdown(double timeout_seconds) override;

  // What tests look at.
  int running() const;
  int cancelled() const { return cancelled_; }
  int refused_by_sink() const { return refused_by_sink_; }
  GenerateRequest last_request() const;
  double thread_cpu_seconds() const { return thread_cpu_seconds_; }
  bool wait_until_running(int count, double seconds = 5) const;

 private:
  struct Active {
    GenerateRequest request;
    std::shared_ptr<StreamSink> sink;
    int position = 0;
  };
  void run();
  // False when the request has ended.
  bool step(Active& active);
  RequestOutput make_output(const Active& active) const;

  const Options options_;
  const ByteText text_;
  ModelInfo info_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::vector<Active> incoming_;  // guarded, as below
  std::set<std::string> to_cancel_;
  std::set<std::string> ids_;  // of all requests not yet ended
  GenerateRequest last_request_;
  bool draining_ = false;
  bool ending_ = false;
  std::atomic<int> cancelled_ = 0;
  std::atomic<int> refused_by_sink_ = 0;
  std::atomic<int64_t> generated_ = 0;
  std::atomic<double> thread_cpu_seconds_ = 0;
  std::thread thread_;
};

}  // namespace octavo::serve
