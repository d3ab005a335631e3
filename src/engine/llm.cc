#include "octavo/llm.h"

#include <condition_variable>
#include <mutex>

#include "base/status_macros.h"

namespace octavo {
namespace {

// Gathers the outputs of a list of requests; generate() waits on it.
class Collector {
 public:
  explicit Collector(size_t count) : results_(count), left_(count) {}

  void add(size_t i, RequestOutput output) {
    std::lock_guard lock(mutex_);
    RequestOutput& whole = results_[i];
    whole.request_id = output.request_id;
    whole.num_prompt_tokens = output.num_prompt_tokens;
    whole.num_cached_tokens = output.num_cached_tokens;
    whole.metrics = output.metrics;
    if (!output.prompt_logprobs.empty()) whole.prompt_logprobs = std::move(output.prompt_logprobs);
    if (!output.error.ok()) whole.error = output.error;
    for (CompletionOutput& part : output.outputs) merge(whole, std::move(part));
    if (!output.finished) return;
    whole.finished = true;
    if (--left_ == 0) done_.notify_all();
  }
  std::vector<RequestOutput> wait() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return left_ == 0; });
    return std::move(results_);
  }

 private:
  static void merge(RequestOutput& whole, CompletionOutput part) {
    while (static_cast<int>(whole.outputs.size()) <= part.index) {
      whole.outputs.emplace_back().index = static_cast<int>(whole.outputs.size()) - 1;
    }
    CompletionOutput& c = whole.outputs[part.index];
    c.text += part.text;
    c.token_ids.insert(c.token_ids.end(), part.token_ids.begin(), part.token_ids.end());
    c.logprobs.insert(c.logprobs.end(), part.logprobs.begin(), part.logprobs.end());
    c.cumulative_logprob = part.cumulative_logprob;
    c.num_output_tokens = part.num_output_tokens;
    c.finish_reason = part.finish_reason;
    c.stop_reason = std::move(part.stop_reason);
  }

  std::mutex mutex_;
  std::condition_variable done_;
  std::vector<RequestOutput> results_;
  size_t left_;
};

class CollectingSink : public StreamSink {
 public:
  CollectingSink(std::shared_ptr<Collector> collector, size_t index)
      : collector_(std::move(collector)), index_(index) {}
  bool on_output(RequestOutput output) override {
    collector_->add(index_, std::move(output));
    return true;
  }

 private:
  std::shared_ptr<Collector> collector_;
  size_t index_;
};

}  // namespace

StatusOr<std::unique_ptr<LLM>> LLM::create(const EngineOptions& options) {
  EngineOptions offline = options;
  offline.scheduler.offline = true;
  ASSIGN_OR_RETURN(std::unique_ptr<EngineClient> engine, make_engine(offline));
  return std::make_unique<LLM>(std::move(engine));
}

StatusOr<std::vector<RequestOutput>> LLM::generate(const std::vector<std::string>& prompts,
                                                   const SamplingParams& params) {
  std::vector<std::vector<TokenId>> ids;
  for (const std::string& prompt : prompts) {
    ASSIGN_OR_RETURN(std::vector<TokenId> tokens, engine_->text().encode(prompt));
    ids.push_back(std::move(tokens));
  }
  return generate_ids(ids, params);
}

StatusOr<std::vector<RequestOutput>> LLM::generate_ids(
    const std::vector<std::vector<TokenId>>& prompts, const SamplingParams& params) {
  if (prompts.empty()) return std::vector<RequestOutput>();
  auto collector = std::make_shared<Collector>(prompts.size());
  std::vector<std::string> submitted;
  for (size_t i = 0; i < prompts.size(); ++i) {
    GenerateRequest request;
    request.prompt_token_ids = prompts[i];
    request.sampling = params;
    StatusOr<std::string> id =
        engine_->submit(std::move(request), std::make_shared<CollectingSink>(collector, i));
    if (!id.ok()) {
      for (const std::string& other : submitted) engine_->cancel(other);
      return id.status().with_context("prompt " + std::to_string(i));
    }
    submitted.push_back(std::move(*id));
  }
  return collector->wait();
}

StatusOr<std::vector<RequestOutput>> LLM::chat(const std::vector<ChatPrompt>& conversations,
                                               const SamplingParams& params) {
  std::vector<std::vector<TokenId>> ids;
  for (const ChatPrompt& conversation : conversations) {
    ASSIGN_OR_RETURN(const RenderedChat chat, engine_->text().render_chat(conversation));
    ASSIGN_OR_RETURN(std::vector<TokenId> tokens,
                     engine_->text().encode(
                         chat.text, {.add_special_tokens = false, .plain = chat.from_request}));
    ids.push_back(std::move(tokens));
  }
  return generate_ids(ids, params);
}

}  // namespace octavo
