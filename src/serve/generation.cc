#include "serve/generation.h"

#include <optional>

#include "serve/errors.h"

namespace octavo::serve {

namespace {

// Adds what `more` brings to what is kept of the same choice.
void merge(CompletionOutput& kept, CompletionOutput&& more) {
  kept.index = more.index;
  kept.text += more.text;
  kept.token_ids.insert(kept.token_ids.end(), more.token_ids.begin(), more.token_ids.end());
  kept.logprobs.insert(kept.logprobs.end(), std::make_move_iterator(more.logprobs.begin()),
                       std::make_move_iterator(more.logprobs.end()));
  kept.cumulative_logprob = more.cumulative_logprob;
  kept.finish_reason = more.finish_reason;
  kept.stop_reason = std::move(more.stop_reason);
  kept.num_output_tokens = more.num_output_tokens;
}

}  // namespace

// What both kinds of sink do with an output beside its text.
class Generation::Sink : public StreamSink {
 public:
  Sink(std::shared_ptr<Generation> owner, size_t prompt, int n)
      : owner_(std::move(owner)), prompt_(prompt), n_(n) {}

  bool on_output(RequestOutput output) final {
    Generation& owner = *owner_;
    if (!output.error.ok()) {
      owner.fail(output.error);
      return false;
    }
    if (owner.failed_) return false;
    if (!output.prompt_logprobs.empty())
      owner.prompts_[prompt_].logprobs = std::move(output.prompt_logprobs);
    for (const CompletionOutput& choice : output.outputs) count(choice);
    const bool wanted = deliver(output);
    if (output.finished) {
      const auto prompt_tokens = static_cast<int64_t>(owner.prompts_[prompt_].token_ids.size());
      Usage usage{.prompt_tokens = prompt_tokens, .cached_tokens = output.num_cached_tokens};
      if (!owner.head_.options.echo_only) {
        for (const int tokens : tokens_) usage.completion_tokens += tokens;
      }
      owner.prompt_finished(usage);
    }
    return wanted;
  }

 protected:
  virtual bool deliver(RequestOutput& output) = 0;

  const std::shared_ptr<Generation> owner_;
  const size_t prompt_;
  const int n_;

 private:
  void count(const CompletionOutput& choice) {
    if (tokens_.size() <= static_cast<size_t>(choice.index)) tokens_.resize(choice.index + 1);
    tokens_[choice.index] = choice.num_output_tokens;
  }
  std::vector<int> tokens_;  // so far, by choice
};

// Every output becomes events at once; several choices of one output become one write.
class Generation::StreamingSink final : public Sink {
 public:
  using Sink::Sink;

 private:
  struct Choice {
    ChoiceEvents events;
    CompletionOutput held;  // with stream_interval > 1: tokens that wait for the next event
    bool started = false;
  };

  bool deliver(RequestOutput& output) override {
    buffer_.clear();
    for (CompletionOutput& choice : output.outputs) append(std::move(choice));
    return buffer_.empty() || owner_->exchange_->write(buffer_);
  }

  void append(CompletionOutput&& output) {
    // A prefill chunk yields nothing yet. A token without text is an event all the same.
    if (output.token_ids.empty() && output.text.empty() && !output.finished()) return;
    const AnswerHead& head = owner_->head_;
    while (choices_.size() <= static_cast<size_t>(output.index)) {
      const int index = static_cast<int>(prompt_) * n_ + static_cast<int>(choices_.size());
      choices_.push_back({.events = ChoiceEvents(head, index), .held = {}});
    }
    Choice& choice = choices_[output.index];
    const AnswerPrompt& prompt = owner_->prompts_[prompt_];
    const Text& text = owner_->engine_.text();
    const auto interval = static_cast<size_t>(head.options.stream_interval);
    if (interval == 1) {
      choice.events.append(buffer_, output, prompt, text);
      return;
    }
    merge(choice.held, std::move(output));
    const bool due =
        !choice.started || choice.held.finished() || choice.held.token_ids.size() >= interval;
    if (!due) return;
    choice.started = true;
    choice.events.append(buffer_, choice.held, prompt, text);
    choice.held = {};
  }

  std::string buffer_;
  std::vector<Choice> choices_;
};

class Generation::CollectingSink final : public Sink {
 public:
  using Sink::Sink;

 private:
  bool deliver(RequestOutput& output) override {
    std::vector<CompletionOutput>& choices = owner_->collected_[prompt_];
    for (CompletionOutput& choice : output.outputs) {
      if (choices.size() <= static_cast<size_t>(choice.index)) choices.resize(choice.index + 1);
      merge(choices[choice.index], std::move(choice));
    }
    return true;
  }
};

Generation::Generation(EngineClient& engine, TaskPool& pool, std::shared_ptr<HttpExchange> exchange,
                       AnswerHead head, std::vector<AnswerPrompt> prompts)
    : engine_(engine),
      pool_(pool),
      exchange_(std::move(exchange)),
      head_(std::move(head)),
      prompts_(std::move(prompts)),
      collected_(prompts_.size()),
      unfinished_(static_cast<int>(prompts_.size())) {}

void Generation::start(std::vector<GenerateRequest> requests) {
  const auto self = shared_from_this();
  exchange_->on_gone([self] { self->cancel(); });
  for (size_t i = 0; i < requests.size(); ++i) {
    const int n = requests[i].sampling.n;
    std::shared_ptr<StreamSink> sink;
    if (head_.options.stream) {
      sink = std::make_shared<StreamingSink>(self, i, n);
    } else {
      sink = std::make_shared<CollectingSink>(self, i, n);
    }
    StatusOr<std::string> id = engine_.submit(std::move(requests[i]), std::move(sink));
    if (!id.ok()) {
      if (!failed_.exchange(true)) exchange_->respond(error_response(id.status()));
      cancel();
      return;
    }
    bool late = false;
    {
      const std::lock_guard lock(mutex_);
      engine_ids_.push_back(*id);
      late = cancelled_;
    }
    if (late) {
      engine_.cancel(*id);
      return;
    }
  }
  if (head_.options.stream) exchange_->begin_stream("text/event-stream; charset=utf-8");
}

void Generation::cancel() {
  std::vector<std::string> ids;
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    ids.swap(engine_ids_);
  }
  for (const std::string& id : ids) engine_.cancel(id);
}

void Generation::prompt_finished(const Usage& usage) {
  {
    const std::lock_guard lock(mutex_);
    usage_.prompt_tokens += usage.prompt_tokens;
    usage_.completion_tokens += usage.completion_tokens;
    usage_.cached_tokens += usage.cached_tokens;
  }
  if (--unfinished_ > 0) return;
  if (head_.options.stream) {
    finish_stream();
  } else if (head_.options.logprobs || head_.options.prompt_logprobs) {
    // Long to write: not on the thread that every stream waits for.
    pool_.post([self = shared_from_this()] { self->finish_whole(); });
  } else {
    finish_whole();
  }
}

void Generation::finish_stream() {
  std::string tail;
  if (head_.options.include_usage) tail = usage_event(head_, usage_);
  tail += kDoneEvent;
  exchange_->write(tail);
  exchange_->end_stream();
}

void Generation::finish_whole() {
  std::vector<CompletionOutput> outputs;
  for (std::vector<CompletionOutput>& choices : collected_) {
    for (CompletionOutput& choice : choices) {
      if (choice.finish_reason == FinishReason::kError) {
        return fail(internal_error("The engine failed while it generated the answer."));
      }
      outputs.push_back(std::move(choice));
    }
  }
  if (outputs.empty() || outputs.size() % prompts_.size() != 0) {
    return fail(internal_error("The engine ended the request without an answer."));
  }
  exchange_->respond(
      {.status = 200, .body = answer_body(head_, prompts_, outputs, usage_, engine_.text())});
}

// An HTTP error where none of the answer has been sent, else an event in its stream. The other
// prompts end by their sinks' next output, which finds failed_.
void Generation::fail(const Status& status) {
  if (failed_.exchange(true)) return;
  if (!head_.options.stream) {
    exchange_->respond(error_response(status));
    return;
  }
  exchange_->write(error_event(error_body(status)) + std::string(kDoneEvent));
  exchange_->end_stream();
}

}  // namespace octavo::serve
