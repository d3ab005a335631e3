// Tests of what committed tokens become: text, stop strings, log-probabilities, metrics. The
// tokenizer is octavo-tiny's; the events are written by hand.
#include "engine/output_processor.h"

#include <gtest/gtest.h>

#include <future>
#include <sstream>

#include "base/testing_files.h"

namespace octavo {
namespace {

// Adds one request's outputs up.
class WholeSink : public StreamSink {
 public:
  bool on_output(RequestOutput output) override {
    outputs.push_back(output);
    for (const CompletionOutput& c : output.outputs) {
      text += c.text;
      finish = c.finish_reason;
      if (const auto* stop = std::get_if<std::string>(&c.stop_reason)) stop_string = *stop;
    }
    if (output.finished) ended_.set_value();
    return true;
  }
  void wait() { ended_.get_future().wait(); }

  // Stable after wait().
  std::vector<RequestOutput> outputs;
  std::string text, stop_string;
  FinishReason finish = FinishReason::kNone;

 private:
  std::promise<void> ended_;
};

class OutputProcessorTest : public ::testing::Test {
 protected:
  OutputProcessorTest() {
    auto loaded = text::load_tokenizer(testing::source_dir() / "models/octavo-tiny");
    EXPECT_TRUE(loaded.ok());
    tokenizer_ = std::move(*loaded);
    ModelInfo model;
    model.max_model_len = 100;
    metrics_ = std::make_unique<EngineMetrics>(model);
    const OutputProcessor::Callbacks callbacks{.finish_sequence = [](RequestKey, int) {},
                                               .cancel = [](RequestKey) {},
                                               .ended = [](RequestKey) {}};
    outputs_ = std::make_unique<OutputProcessor>(*tokenizer_, *metrics_, 1, callbacks);
  }

  // The token that is exactly these bytes.
  TokenId token_of(std::string_view bytes) const {
    for (TokenId id = 0; id < tokenizer_->vocab_size(); ++id) {
      if (tokenizer_->token_bytes(id) == bytes) return id;
    }
    ADD_FAILURE() << "no token is " << bytes;
    return 0;
  }

  std::shared_ptr<WholeSink> add(const std::string& prompt, const SamplingParams& params) {
    auto request = std::make_shared<Request>();
    request->key = RequestKey(1);
    std::vector<TokenId> ids;
    for (const char c : prompt) ids.push_back(token_of(std::string(1, c)));
    request->prompt = std::make_shared<const std::vector<TokenId>>(std::move(ids));
    request->params = std::make_shared<const SamplingParams>(params);
    request->arrival = 1;
    auto sink = std::make_shared<WholeSink>();
    outputs_->add(request, sink);
    return sink;
  }

  void push(const std::string& bytes, FinishReason finish = FinishReason::kNone, int index = 0,
            bool hidden = false) {
    SequenceEvent event;
    event.request = RequestKey(1);
    event.index = index;
    event.has_token = true;
    event.token.token = token_of(bytes);
    event.finish = finish;
    event.hide_token = hidden;
    event.first_scheduled = 2;
    outputs_->push({event});
  }

  // The value of a metric without labels of its own.
  double metric(const std::string& name) {
    std::istringstream lines(metrics_->text({}));
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("vllm:" + name + "{")) return std::stod(line.substr(line.rfind(' ')));
    }
    ADD_FAILURE() << "there is no " << name;
    return -1;
  }

  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::unique_ptr<EngineMetrics> metrics_;
  std::unique_ptr<OutputProcessor> outputs_;
};

TEST_F(OutputProcessorTest, AStopStringOverSeveralTokensIsCutOff) {
  const auto sink = add("p", {.stop = {"cde"}});
  for (const char* token : {"a", "b", "c", "d", "e"}) push(token);
  sink->wait();
  EXPECT_EQ(sink->text, "ab");
  EXPECT_EQ(sink->stop_string, "cde");
}

TEST_F(OutputProcessorTest, AStopStringThatBeginsBeforeMinTokensAndEndsAfterThemCounts) {
  const auto sink = add("p", {.stop = {"cde"}, .min_tokens = 4});
  for (const char* token : {"a", "b", "c", "d", "e"}) push(token);
  push("f", FinishReason::kLength);
  sink->wait();
  EXPECT_EQ(sink->text, "ab");
  EXPECT_EQ(sink->finish, FinishReason::kStop);
}

TEST_F(OutputProcessorTest, AStopStringThatEndsBeforeMinTokensDoesNotCount) {
  const auto sink = add("p", {.stop = {"ab"}, .min_tokens = 2});
  for (const char* token : {"a", "b", "c", "a"}) push(token);
  push("b");
  sink->wait();
  EXPECT_EQ(sink->text, "abc");
  EXPECT_EQ(sink->finish, FinishReason::kStop);
}

TEST_F(OutputProcessorTest, PromptLogprobsHaveOneEntryForAPromptOfOneToken) {
  const auto sink = add("p", {.prompt_logprobs = 1});
  push("a");
  push("b", FinishReason::kLength);
  sink->wait();
  ASSERT_EQ(sink->outputs.size(), 2u);
  ASSERT_EQ(sink->outputs[0].prompt_logprobs.size(), 1u);
  EXPECT_FALSE(sink->outputs[0].prompt_logprobs[0].has_value());
  EXPECT_TRUE(sink->outputs[1].prompt_logprobs.empty());
}

// A prompt that ends amid a character: what is begun there is no answer's text.
constexpr const char* kCutPrompt = "p\xC3";

TEST_F(OutputProcessorTest, AnAnswerThatEndsBeforeItsFirstTokenHasNoText) {
  const auto sink = add(kCutPrompt, {});
  outputs_->end(RequestKey(1), FinishReason::kAbort);
  sink->wait();
  EXPECT_EQ(sink->text, "");
}

TEST_F(OutputProcessorTest, AnAnswerOfAHiddenTokenAloneHasNoText) {
  const auto sink = add(kCutPrompt, {});
  push("a", FinishReason::kStop, 0, /*hidden=*/true);
  sink->wait();
  EXPECT_EQ(sink->text, "");
}

TEST_F(OutputProcessorTest, WithoutDetokenizeThereIsNoText) {
  const auto sink = add(kCutPrompt, {.detokenize = false});
  push("a");
  push("b", FinishReason::kLength);
  sink->wait();
  EXPECT_EQ(sink->text, "");
}

TEST_F(OutputProcessorTest, TheLatencyBetweenTokensIsThatWithinAnAnswer) {
  const auto sink = add("p", {.n = 2});
  for (int i = 0; i < 3; ++i) {
    const FinishReason finish = i == 2 ? FinishReason::kLength : FinishReason::kNone;
    push("a", finish, 0);
    push("b", finish, 1);
  }
  sink->wait();
  outputs_.reset();
  EXPECT_EQ(metric("time_to_first_token_seconds_count"), 1);
  EXPECT_EQ(metric("inter_token_latency_seconds_count"), 4) << "two for each answer";
  EXPECT_EQ(metric("request_generation_tokens_sum"), 6);
  EXPECT_EQ(metric("request_max_num_generation_tokens_sum"), 3) << "the longest answer's";
}

TEST_F(OutputProcessorTest, AStepCountsItsTokensAndThePromptsThatItAnswersFirst) {
  const auto sink = add("abc", {});
  SequenceEvent event;
  event.request = RequestKey(1);
  event.has_token = true;
  event.token.token = token_of("x");
  event.prompt_tokens = 3;
  outputs_->push({event});
  EXPECT_EQ(metric("iteration_tokens_total_sum"), 4);
  event.prompt_tokens = 0;
  outputs_->push({event, event});
  EXPECT_EQ(metric("iteration_tokens_total_sum"), 6);
  event.has_token = false;
  event.finish = FinishReason::kError;
  outputs_->push({event});
  EXPECT_EQ(metric("iteration_tokens_total_count"), 2) << "a failed step has none";
  sink->wait();
}

}  // namespace
}  // namespace octavo
