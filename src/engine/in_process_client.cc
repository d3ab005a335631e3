#include "engine/in_process_client.h"

#include <algorithm>
#include <chrono>

#include "base/clock.h"
#include "base/status_macros.h"

namespace octavo {
namespace {

constexpr size_t kMaxBadWords = 128;
constexpr size_t kMaxBadWordBytes = 16 << 10;  // of all together

// SplitMix64 (Steele, Lea, Flood 2014): spreads small numbers over 64 bits.
uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

// A word is banned as it stands and as it stands after a space. vLLM leaves the second form out
// when it has another number of tokens, which lets " Paris" pass where "Paris" was banned; here it
// counts whenever it begins differently.
StatusOr<std::vector<std::vector<TokenId>>> tokenize_bad_words(
    const text::Tokenizer& tokenizer, const std::vector<std::string>& words) {
  size_t bytes = 0;
  for (const std::string& word : words) bytes += word.size();
  if (words.size() > kMaxBadWords || bytes > kMaxBadWordBytes) {
    return invalid_argument("bad_words takes at most " + std::to_string(kMaxBadWords) +
                            " words of " + std::to_string(kMaxBadWordBytes) + " bytes together")
        .with_param("bad_words");
  }
  std::vector<std::vector<TokenId>> out;
  for (const std::string& word : words) {
    const size_t start = word.find_first_not_of(' ');
    const std::string bare = start == std::string::npos ? word : word.substr(start);
    std::vector<TokenId> plain;
    for (const bool space : {false, true}) {
      StatusOr<std::vector<TokenId>> ids = tokenizer.encode(
          (space ? " " : "") + bare, {.add_special_tokens = false, .parse_special_tokens = true});
      if (!ids.ok()) return ids.status().with_context("bad_words");
      if (ids->empty()) continue;
      const bool new_form = !space || plain.empty() || ids->front() != plain.front();
      if (!space) plain = *ids;
      if (new_form) out.push_back(std::move(*ids));
    }
  }
  if (out.size() > kMaxBadWords) {
    return invalid_argument("bad_words give more than " + std::to_string(kMaxBadWords) +
                            " token sequences")
        .with_param("bad_words");
  }
  return out;
}

}  // namespace

InProcessClient::InProcessClient(ModelInfo model, const EngineOptions& options,
                                 std::unique_ptr<text::TextModel> text, const MakeCore& make_core)
    : model_(std::move(model)),
      options_(options),
      text_(std::move(text)),
      metrics_(model_),
      maskers_(text_->tokenizer(), model_.vocab_size, model_.eos_token_ids) {
  outputs_ = std::make_unique<OutputProcessor>(
      text_->tokenizer(), metrics_, options_.output_threads,
      OutputProcessor::Callbacks{
          .finish_sequence = [this](RequestKey key, int index) { engine_->finish(key, index); },
          .cancel = [this](RequestKey key) { engine_->cancel(key); },
          .ended = [this](RequestKey key) { forget(key); },
      });
  engine_ = make_core({
      .on_events = [this](std::vector<SequenceEvent> events) { outputs_->push(std::move(events)); },
      .on_fault = [this](const Status& fault) { fail(fault); },
  });
}

InProcessClient::~InProcessClient() {
  shutdown(0);
}

Status InProcessClient::check_length(const GenerateRequest& request, int& max_tokens) const {
  const int prompt = static_cast<int>(request.prompt_token_ids.size());
  const int limit = model_.max_model_len;
  const std::optional<int>& asked = request.sampling.max_tokens;
  if (prompt >= limit || (asked && prompt + int64_t{*asked} > limit)) {
    const int64_t output = asked.value_or(1);
    return invalid_argument("This model's maximum context length is " + std::to_string(limit) +
                            " tokens. However, you requested " + std::to_string(output) +
                            " output tokens and your prompt contains " + std::to_string(prompt) +
                            " input tokens, for a total of " + std::to_string(prompt + output) +
                            " tokens. Please reduce the length of the input prompt or the number "
                            "of requested output "
                            "tokens.")
        .with_param("input_tokens");
  }
  max_tokens = asked.value_or(limit - prompt);
  return ok_status();
}

StatusOr<std::shared_ptr<Request>> InProcessClient::prepare(GenerateRequest request) {
  RETURN_IF_ERROR(request.sampling.validate(model_.vocab_size, options_.max_logprobs));
  if (request.prompt_token_ids.empty()) {
    return invalid_argument("The decoder prompt cannot be empty").with_param("prompt");
  }
  for (TokenId id : request.prompt_token_ids) {
    if (id < 0 || id >= model_.vocab_size) {
      return invalid_argument("Token id " + std::to_string(id) + " is out of vocabulary")
          .with_param("prompt");
    }
  }
  auto made = std::make_shared<Request>();
  RETURN_IF_ERROR(check_length(request, made->max_tokens));
  ASSIGN_OR_RETURN(made->bad_words,
                   tokenize_bad_words(text_->tokenizer(), request.sampling.bad_words));

  made->key = RequestKey(next_key_.fetch_add(1));
  made->id = request.request_id.empty() ? "request-" + std::to_string(made->key.value)
                                        : std::move(request.request_id);
  made->priority = request.priority;
  made->arrival = request.arrival > 0 ? request.arrival : steady_seconds();
  made->cache_salt = std::move(request.cache_salt);
  if (!request.sampling.ignore_eos) made->eos_ids = model_.eos_token_ids;
  made->seed = request.sampling.seed ? static_cast<uint64_t>(*request.sampling.seed)
                                     : mix(static_cast<uint64_t>(options_.model.seed) ^
                                           mix(static_cast<uint64_t>(made->key.value)));
  made->prompt = std::make_shared<const std::vector<TokenId>>(std::move(request.prompt_token_ids));
  made->params = std::make_shared<const SamplingParams>(std::move(request.sampling));
  return made;
}

StatusOr<std::string> InProcessClient::submit_masked(GenerateRequest request,
                                                     std::shared_ptr<StreamSink> sink,
                                                     MakeMasker make_masker) {
  if (make_masker && !engine_->takes_maskers())
    return unimplemented("constrained answers are not supported with --engine-process");
  ASSIGN_OR_RETURN(std::shared_ptr<Request> made, prepare(std::move(request)));
  // Whoever takes no maskers makes its own of the parameters; here it is checked that they can be.
  ASSIGN_OR_RETURN(MakeMasker own, maskers_.make(*made->params));
  if (make_masker) {
    made->make_masker = std::move(make_masker);
  } else if (engine_->takes_maskers()) {
    made->make_masker = std::move(own);
  }
  std::string id = made->id;
  // Under the mutex to the end: a fault, a shutdown or a cancel that finds the request among the
  // live ones must also find it where it is to end it.
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(refusal());
  live_.emplace(made->key, id);
  keys_of_.emplace(id, made->key);
  outputs_->add(made, std::move(sink));
  engine_->add(std::move(made));
  return id;
}

void InProcessClient::cancel(const std::string& request_id) {
  std::vector<RequestKey> keys;
  {
    std::lock_guard lock(mutex_);
    const auto [first, last] = keys_of_.equal_range(request_id);
    for (auto it = first; it != last; ++it) keys.push_back(it->second);
  }
  for (RequestKey key : keys) {
    engine_->cancel(key);
    outputs_->end(key, FinishReason::kAbort);
  }
}

void InProcessClient::forget(RequestKey key) {
  std::lock_guard lock(mutex_);
  const auto found = live_.find(key);
  if (found == live_.end()) return;
  const auto [first, last] = keys_of_.equal_range(found->second);
  for (auto it = first; it != last; ++it) {
    if (it->second == key) {
      keys_of_.erase(it);
      break;
    }
  }
  live_.erase(found);
  if (live_.empty()) idle_.notify_all();
}

// The core can do no more: every request ends with the reason, and none is taken.
void InProcessClient::fail(const Status& fault) {
  const Status reason = fault.with_context("the engine has failed");
  std::vector<RequestKey> lost;
  {
    std::lock_guard lock(mutex_);
    fault_ = reason;
    for (const auto& entry : live_) lost.push_back(entry.first);
  }
  for (RequestKey key : lost) {
    outputs_->end(key, FinishReason::kError, reason);
    engine_->cancel(key);
  }
}

// Why no request is taken, under mutex_; ok: they are.
Status InProcessClient::refusal() const {
  if (stopped_) return unavailable("the engine has stopped");
  if (draining_) return unavailable("the server is shutting down");
  return fault_;
}

Status InProcessClient::health() const {
  std::lock_guard lock(mutex_);
  return refusal();
}

std::string InProcessClient::metrics_text() const {
  return metrics_.text(engine_->stats());
}

void InProcessClient::shutdown(double timeout_seconds) {
  std::vector<RequestKey> left;
  {
    std::unique_lock lock(mutex_);
    draining_ = true;
    if (stopped_) return;
    idle_.wait_for(lock, std::chrono::duration<double>(std::max(0.0, timeout_seconds)),
                   [this] { return stopped_ || live_.empty(); });
    if (stopped_) return;
    stopped_ = true;
    for (const auto& entry : live_) left.push_back(entry.first);
  }
  for (RequestKey key : left) {
    engine_->cancel(key);
    outputs_->end(key, FinishReason::kAbort);
  }
  engine_->stop();
  std::unique_lock lock(mutex_);
  idle_.wait_for(lock, std::chrono::seconds(5), [this] { return live_.empty(); });
}

}  // namespace octavo
