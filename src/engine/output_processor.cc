// Each shard is a thread with a queue of messages. Requests are added, progress and end only
// through their shard's queue, so nothing about a request is shared between threads.
#include "engine/output_processor.h"

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <variant>

#include "base/clock.h"
#include "text/stop_checker.h"

namespace octavo {
namespace {

// One answer of a request, as far as the text side knows it.
struct AnswerState {
  AnswerState(const text::Tokenizer& tokenizer, const Request& request)
      : streamer(tokenizer, request.params->skip_special_tokens,
                 request.params->shown_special_tokens),
        stop(request.params->stop, request.params->include_stop_str_in_output) {
    streamer.prime(*request.prompt);
  }
  text::TokenStreamer streamer;
  text::StopChecker stop;
  bool has_text = false;  // a token of the answer went through the streamer
  int num_tokens = 0;
  double last_token = 0;
  double cumulative_logprob = 0;
  bool ended = false;

  // What the streamer still holds of this answer; while none of its tokens came, that is the
  // prompt's.
  std::string flush_streamer() { return has_text ? streamer.flush() : std::string(); }
};

struct Stream {
  std::shared_ptr<const Request> request;
  std::shared_ptr<StreamSink> sink;
  std::vector<AnswerState> answers;
  int num_ended = 0;
  int num_cached = 0;
  std::vector<std::optional<TokenLogprobs>> prompt_logprobs;  // until the first token delivers them
  RequestMetrics times;
};

struct AddMessage {
  std::shared_ptr<const Request> request;
  std::shared_ptr<StreamSink> sink;
};
struct EndMessage {
  RequestKey request;
  FinishReason reason;
  Status error;
};
using Message = std::variant<AddMessage, EndMessage, std::vector<SequenceEvent>>;

}  // namespace

class OutputProcessor::Shard {
 public:
  Shard(const text::Tokenizer& tokenizer, EngineMetrics& metrics, const Callbacks& callbacks)
      : tokenizer_(tokenizer),
        metrics_(metrics),
        callbacks_(callbacks),
        thread_([this] { run(); }) {
    pthread_setname_np(thread_.native_handle(), "octavo-output");
  }
  ~Shard() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    ready_.notify_one();
    thread_.join();
  }

  void push(Message message) {
    bool wake;
    {
      std::lock_guard lock(mutex_);
      wake = queue_.empty();
      queue_.push_back(std::move(message));
    }
    if (wake) ready_.notify_one();
  }

 private:
  void run() {
    std::vector<Message> messages;
    while (true) {
      {
        std::unique_lock lock(mutex_);
        ready_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
        if (queue_.empty()) return;
        messages.swap(queue_);
      }
      for (Message& message : messages) {
        std::visit([this](auto& m) { handle(m); }, message);
      }
      messages.clear();
    }
  }

  void handle(AddMessage& m) {
    Stream stream;
    for (int i = 0; i < m.request->params->n; ++i)
      stream.answers.emplace_back(tokenizer_, *m.request);
    if (m.request->params->prompt_logprobs)
      stream.prompt_logprobs.resize(m.request->prompt->size());
    stream.times.arrival = m.request->arrival;
    const RequestKey key = m.request->key;
    stream.request = std::move(m.request);
    stream.sink = std::move(m.sink);
    streams_.emplace(key, std::move(stream));
  }

  void handle(EndMessage& m) {
    const auto found = streams_.find(m.request);
    if (found == streams_.end()) return;
    Stream& stream = found->second;
    RequestOutput output = new_output(stream);
    output.error = m.error;
    for (size_t i = 0; i < stream.answers.size(); ++i) {
      AnswerState& answer = stream.answers[i];
      if (answer.ended) continue;
      CompletionOutput c = new_completion(answer, static_cast<int>(i));
      c.text = answer.stop.flush() + answer.flush_streamer();
      c.finish_reason = m.reason;
      end_answer(stream, answer);
      output.outputs.push_back(std::move(c));
    }
    deliver(found, std::move(output), steady_seconds(), m.reason);
  }

  void handle(std::vector<SequenceEvent>& events) {
    const double now = steady_seconds();
    for (SequenceEvent& event : events) {
      const auto found = streams_.find(event.request);
      if (found != streams_.end()) progress(found, event, now);
    }
  }

  using StreamMap = std::unordered_map<RequestKey, Stream>;

  void progress(StreamMap::iterator found, SequenceEvent& event, double now) {
    Stream& stream = found->second;
    AnswerState& answer = stream.answers[event.index];
    if (stream.times.first_scheduled == 0) stream.times.first_scheduled = event.first_scheduled;
    if (event.index == 0) stream.num_cached = event.num_cached_tokens;
    keep_prompt_logprobs(stream, event);
    if (answer.ended || (!event.has_token && event.finish == FinishReason::kNone)) return;

    CompletionOutput c = new_completion(answer, event.index);
    if (event.has_token) {
      observe_token(stream, answer, now);
      add_token(stream, answer, event, c);
    }
    if (c.finish_reason == FinishReason::kNone && event.finish != FinishReason::kNone) {
      c.finish_reason = event.finish;
      if (event.stop_token) c.stop_reason = *event.stop_token;
      if (event.finish == FinishReason::kRepetition) c.stop_reason = "repetition_detected";
      finish_text(answer, c);
    }
    c.num_output_tokens = answer.num_tokens;
    c.cumulative_logprob = answer.cumulative_logprob;
    if (c.finished()) end_answer(stream, answer);

    RequestOutput output = new_output(stream);
    output.prompt_logprobs = std::move(stream.prompt_logprobs);
    stream.prompt_logprobs.clear();
    if (event.finish == FinishReason::kError) output.error = Status(event.error_code, event.error);
    const FinishReason reason = c.finish_reason;
    output.outputs.push_back(std::move(c));
    deliver(found, std::move(output), now, reason);
  }

  // The token's text, as far as it is certain and no stop string can begin in it.
  void add_token(Stream& stream, AnswerState& answer, SequenceEvent& event, CompletionOutput& c) {
    const SamplingParams& params = *stream.request->params;
    c.token_ids.push_back(event.token.token);
    ++answer.num_tokens;
    if (params.logprobs) {
      c.logprobs.push_back(to_logprobs(event.token));
      answer.cumulative_logprob += event.token.logprob;
    }
    if (!params.detokenize || (event.hide_token && !params.include_stop_str_in_output)) return;
    answer.has_text = true;
    std::string text = answer.streamer.append(event.token.token);
    if (params.stop.empty()) {
      c.text = std::move(text);
      return;
    }
    // As with vLLM, a stop string counts where it ends after min_tokens, wherever it began.
    if (answer.num_tokens <= params.min_tokens) {
      c.text = answer.stop.pass(text);
      return;
    }
    check_stop(answer, text, params, c);
    if (c.finished()) callbacks_.finish_sequence(stream.request->key, event.index);
  }

  static void check_stop(AnswerState& answer, const std::string& text, const SamplingParams& params,
                         CompletionOutput& c) {
    text::StopChecker::Result result = answer.stop.append(text);
    c.text += result.text;
    if (!result.stopped()) return;
    c.finish_reason = FinishReason::kStop;
    c.stop_reason = params.stop[result.stop_index];
  }

  // What the streamer and the stop checker still hold, when no stop string ended the answer.
  static void finish_text(AnswerState& answer, CompletionOutput& c) {
    text::StopChecker::Result last = answer.stop.append(answer.flush_streamer());
    c.text += last.text;
    if (!last.stopped()) c.text += answer.stop.flush();
  }

  TokenLogprobs to_logprobs(const SampledToken& token) const {
    const auto text_of = [this](TokenId id) { return tokenizer_.decode(std::span(&id, 1), false); };
    TokenLogprobs out;
    out.chosen = {token.token, token.logprob, token.rank, text_of(token.token)};
    int rank = 0;
    for (const auto& [id, logprob] : token.top)
      out.top.push_back({id, logprob, ++rank, text_of(id)});
    return out;
  }

  void keep_prompt_logprobs(Stream& stream, const SequenceEvent& event) {
    if (event.prompt_logprobs.empty()) return;
    if (stream.prompt_logprobs.empty())
      stream.prompt_logprobs.resize(stream.request->prompt->size());
    for (size_t i = 0; i < event.prompt_logprobs.size(); ++i) {
      const size_t position = static_cast<size_t>(event.prompt_logprobs_first) + i;
      if (position < stream.prompt_logprobs.size()) {
        stream.prompt_logprobs[position] = to_logprobs(event.prompt_logprobs[i]);
      }
    }
  }

  void observe_token(Stream& stream, AnswerState& answer, double now) {
    if (stream.times.first_token == 0) {
      stream.times.first_token = now;
      metrics_.first_token(now - stream.times.arrival);
    }
    if (answer.last_token > 0) metrics_.inter_token(now - answer.last_token);
    answer.last_token = stream.times.last_token = now;
  }

  static RequestOutput new_output(const Stream& stream) {
    RequestOutput output;
    output.request_id = stream.request->id;
    output.num_prompt_tokens = static_cast<int>(stream.request->prompt->size());
    output.num_cached_tokens = stream.num_cached;
    output.metrics = stream.times;
    return output;
  }
  static CompletionOutput new_completion(const AnswerState& answer, int index) {
    CompletionOutput c;
    c.index = index;
    c.num_output_tokens = answer.num_tokens;
    c.cumulative_logprob = answer.cumulative_logprob;
    return c;
  }
  static void end_answer(Stream& stream, AnswerState& answer) {
    answer.ended = true;
    ++stream.num_ended;
  }

  // Hands the output to the sink; forgets the request after its last one, or when the sink wants no
  // more.
  void deliver(StreamMap::iterator found, RequestOutput output, double now, FinishReason reason) {
    Stream& stream = found->second;
    const RequestKey key = found->first;
    const bool finished = stream.num_ended == static_cast<int>(stream.answers.size());
    output.finished = finished;
    const bool more = stream.sink->on_output(std::move(output));
    if (!finished && more) return;
    if (!finished) callbacks_.cancel(key);
    observe_end(stream, now, finished ? reason : FinishReason::kAbort);
    streams_.erase(found);
    callbacks_.ended(key);
  }

  void observe_end(const Stream& stream, double now, FinishReason reason) {
    EngineMetrics::Finished f;
    f.reason = std::string(to_string(reason));
    f.arrival = stream.times.arrival;
    f.first_scheduled = stream.times.first_scheduled;
    f.first_token = stream.times.first_token;
    f.last_token = stream.times.last_token;
    f.now = now;
    f.prompt_tokens = static_cast<int>(stream.request->prompt->size());
    f.cached_tokens = stream.num_cached;
    for (const AnswerState& answer : stream.answers) {
      f.generation_tokens += answer.num_tokens;
      f.longest_answer = std::max(f.longest_answer, answer.num_tokens);
    }
    f.n = stream.request->params->n;
    f.max_tokens = stream.request->max_tokens;
    metrics_.finished(f);
  }

  const text::Tokenizer& tokenizer_;
  EngineMetrics& metrics_;
  const Callbacks callbacks_;
  StreamMap streams_;  // output thread only
  std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<Message> queue_;  // guarded by mutex_
  bool stopping_ = false;       // guarded by mutex_
  std::thread thread_;
};

OutputProcessor::OutputProcessor(const text::Tokenizer& tokenizer, EngineMetrics& metrics,
                                 int threads, Callbacks callbacks)
    : metrics_(metrics) {
  for (int i = 0; i < std::max(1, threads); ++i) {
    shards_.push_back(std::make_unique<Shard>(tokenizer, metrics, callbacks));
  }
}
OutputProcessor::~OutputProcessor() = default;

OutputProcessor::Shard& OutputProcessor::shard(RequestKey key) const {
  return *shards_[static_cast<size_t>(key.value) % shards_.size()];
}

void OutputProcessor::add(std::shared_ptr<const Request> request,
                          std::shared_ptr<StreamSink> sink) {
  Shard& owner = shard(request->key);
  owner.push(AddMessage{std::move(request), std::move(sink)});
}

void OutputProcessor::push(std::vector<SequenceEvent> events) {
  int tokens = 0;
  for (const SequenceEvent& event : events) tokens += event.prompt_tokens + event.has_token;
  if (tokens > 0) metrics_.step_tokens(tokens);
  if (shards_.size() == 1) return shards_[0]->push(std::move(events));
  std::vector<std::vector<SequenceEvent>> split(shards_.size());
  for (SequenceEvent& event : events) {
    split[static_cast<size_t>(event.request.value) % shards_.size()].push_back(std::move(event));
  }
  for (size_t i = 0; i < split.size(); ++i) {
    if (!split[i].empty()) shards_[i]->push(std::move(split[i]));
  }
}

void OutputProcessor::end(RequestKey request, FinishReason reason, Status error) {
  shard(request).push(EndMessage{request, reason, std::move(error)});
}

}  // namespace octavo
