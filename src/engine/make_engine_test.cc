// Tests of an engine put together from options: a tiny model of dummy weights on the CPU.
#include <gtest/gtest.h>

#include <fstream>
#include <future>

#include "base/log.h"
#include "base/testing_directory.h"
#include "octavo/engine_client.h"

namespace octavo {
namespace {

constexpr const char* kWindowedConfig = R"({
  "architectures": ["MistralForCausalLM"], "model_type": "mistral", "torch_dtype": "float32",
  "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
  "num_key_value_heads": 1, "head_dim": 16, "hidden_act": "silu", "rms_norm_eps": 1e-6,
  "max_position_embeddings": 1024, "vocab_size": 64, "rope_theta": 10000.0, "eos_token_id": 1,
  "tie_word_embeddings": true, "sliding_window": 64})";

class LastOutput : public StreamSink {
 public:
  bool on_output(RequestOutput output) override {
    if (output.finished) last_.set_value(std::move(output));
    return true;
  }
  RequestOutput wait() { return last_.get_future().get(); }

 private:
  std::promise<RequestOutput> last_;
};

TEST(MakeEngine, WithoutChunksAPromptLongerThanWindowAndBudgetHasItsBlocks) {
  set_log_level(LogLevel::kOff);
  const testing::TemporaryDirectory model;
  std::ofstream(model.path() / "config.json") << kWindowedConfig;
  EngineOptions options;
  options.model.model = model.path();
  options.model.load_format = "dummy";
  options.cache.kv_cache_memory_bytes = 64 << 20;
  options.scheduler.max_num_seqs = 1;
  options.scheduler.max_num_batched_tokens = 32;
  options.scheduler.enable_chunked_prefill = false;
  options.device.device = "cpu";
  options.device.threads = 1;
  const auto engine = make_engine(options);
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  GenerateRequest request;
  request.prompt_token_ids.assign(400, 7);
  request.sampling.max_tokens = 2;
  request.sampling.ignore_eos = true;
  const auto sink = std::make_shared<LastOutput>();
  ASSERT_TRUE((*engine)->submit(std::move(request), sink).ok());
  const RequestOutput last = sink->wait();
  EXPECT_TRUE(last.error.ok()) << last.error.message();
}

}  // namespace
}  // namespace octavo
