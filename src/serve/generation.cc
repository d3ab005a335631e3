#include "serve/generation.h"

#include <algorithm>
#include <optional>

namespace octavo::serve {

namespace {

RequestMetrics spanning(const RequestMetrics& a, const RequestMetrics& b) {
  return {.arrival = std::min(a.arrival, b.arrival),
          .first_scheduled = std::min(a.first_scheduled, b.first_scheduled),
          .first_token = std::min(a.first_token, b.first_token),
          .last_token = std::max(a.last_token, b.last_token)};
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
    std::vector<AnswerPiece> pieces;
    for (CompletionOutput& choice : output.outputs) {
      AnswerPiece& piece = pieces.emplace_back(take_apart(std::move(choice)));
      piece.times = output.metrics;
      piece.cached_tokens = output.num_cached_tokens;
    }
    const bool wanted = deliver(pieces);
    if (output.finished) {
      const auto prompt_tokens = static_cast<int64_t>(owner.prompts_[prompt_].token_ids.size());
      Usage usage{.prompt_tokens = prompt_tokens,
                  .cached_tokens = output.num_cached_tokens,
                  .times = output.metrics};
      if (!owner.head_.options.echo_only) {
        for (const Choice& choice : choices_) usage.completion_tokens += choice.tokens;
      }
      if (owner.head_.parsing != nullptr && !owner.head_.parsing->parser.reasoning_parser.empty()) {
        usage.reasoning_tokens = 0;
        for (const Choice& choice : choices_) {
          *usage.reasoning_tokens += choice.answer.reasoning_tokens();
        }
      }
      owner.prompt_finished(usage);
    }
    return wanted;
  }

 protected:
  virtual bool deliver(std::vector<AnswerPiece>& pieces) = 0;

  const std::shared_ptr<Generation> owner_;
  const size_t prompt_;
  const int n_;

 private:
  struct Choice {
    ChatAnswer answer;
    int tokens = 0;  // so far
  };
  AnswerPiece take_apart(CompletionOutput&& output) {
    const AnswerHead& head = owner_->head_;
    while (choices_.size() <= static_cast<size_t>(output.index)) {
      choices_.push_back({.answer = ChatAnswer(head.parsing.get())});
    }
    Choice& choice = choices_[output.index];
    choice.tokens = output.num_output_tokens;
    AnswerPiece piece{.output = std::move(output), .chat = {}};
    if (head.chat) piece.chat = choice.answer.add(piece.output);
    return piece;
  }
  std::vector<Choice> choices_;
};

// Every output becomes events at once; several choices of one output become one write.
class Generation::StreamingSink final : public Sink {
 public:
  using Sink::Sink;

 private:
  struct Choice {
    std::unique_ptr<ChoiceWriter> writer;
    AnswerPiece held;  // what waits for the next event
    bool holds = false;
    bool started = false;
  };

  bool deliver(std::vector<AnswerPiece>& pieces) override {
    owner_->open_stream();  // first: a format may number its events
    buffer_.clear();
    for (AnswerPiece& piece : pieces) append(std::move(piece));
    return buffer_.empty() || owner_->exchange_->write(buffer_);
  }

  // With the first token of any: a client hears of all choices before it reads one.
  void begin_choices(const AnswerPrompt& prompt) {
    for (int i = 0; i < n_; ++i) {
      const int index = static_cast<int>(prompt_) * n_ + i;
      choices_.push_back({.writer = owner_->format_->choice(index), .held = {}});
      choices_.back().writer->begin(buffer_, prompt);
    }
  }

  void append(AnswerPiece&& piece) {
    const CompletionOutput& output = piece.output;
    // A prefill chunk yields nothing yet. A token without text is an event all the same, unless a
    // parser has taken the text.
    if (output.token_ids.empty() && output.text.empty() && piece.chat.empty() &&
        !output.finished()) {
      return;
    }
    const AnswerHead& head = owner_->head_;
    const AnswerPrompt& prompt = owner_->prompts_[prompt_];
    if (choices_.empty()) begin_choices(prompt);
    Choice& choice = choices_[output.index];
    const bool first = !choice.started;
    choice.started = true;
    const auto due = [&](const AnswerPiece& all) {
      if (all.output.finished()) return true;
      if (head.parsing != nullptr && all.chat.empty()) return false;
      const auto interval = static_cast<size_t>(head.options.stream_interval);
      return first || all.output.token_ids.size() >= interval;
    };
    if (!choice.holds && due(piece)) {
      choice.writer->append(buffer_, piece, prompt);
      return;
    }
    choice.held.merge(std::move(piece));
    choice.holds = !due(choice.held);
    if (choice.holds) return;
    choice.writer->append(buffer_, choice.held, prompt);
    choice.held = {};
  }

  std::string buffer_;
  std::vector<Choice> choices_;
};

class Generation::CollectingSink final : public Sink {
 public:
  using Sink::Sink;

 private:
  bool deliver(std::vector<AnswerPiece>& pieces) override {
    std::vector<AnswerPiece>& choices = owner_->collected_[prompt_];
    for (AnswerPiece& piece : pieces) {
      const auto index = static_cast<size_t>(piece.output.index);
      if (choices.size() <= index) choices.resize(index + 1);
      choices[index].merge(std::move(piece));
    }
    return true;
  }
};

Generation::Generation(EngineClient& engine, TaskPool& pool, std::shared_ptr<HttpExchange> exchange,
                       std::unique_ptr<AnswerFormat> format, std::vector<AnswerPrompt> prompts)
    : engine_(engine),
      pool_(pool),
      exchange_(std::move(exchange)),
      format_(std::move(format)),
      head_(format_->head()),
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
      if (!failed_.exchange(true)) exchange_->respond(format_->error(id.status()));
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
  if (!head_.options.stream) return;
  open_stream();
  exchange_->begin_stream("text/event-stream; charset=utf-8");
}

void Generation::open_stream() {
  std::call_once(opened_, [this] {
    std::string beginning;
    format_->begin_stream(beginning, prompts_);
    if (!beginning.empty()) exchange_->write(beginning);
  });
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
    usage_.times = usage_.prompt_tokens == 0 ? usage.times : spanning(usage_.times, usage.times);
    usage_.prompt_tokens += usage.prompt_tokens;
    usage_.completion_tokens += usage.completion_tokens;
    usage_.cached_tokens += usage.cached_tokens;
    usage_.reasoning_tokens = usage.reasoning_tokens;  // a chat has one prompt
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
  open_stream();
  std::string tail;
  format_->end_stream(tail, usage_);
  exchange_->write(tail);
  exchange_->end_stream();
}

void Generation::finish_whole() {
  std::vector<AnswerPiece> answers;
  for (std::vector<AnswerPiece>& choices : collected_) {
    for (AnswerPiece& choice : choices) {
      if (choice.output.finish_reason == FinishReason::kError) {
        return fail(internal_error("The engine failed while it generated the answer."));
      }
      answers.push_back(std::move(choice));
    }
  }
  if (answers.empty() || answers.size() % prompts_.size() != 0) {
    return fail(internal_error("The engine ended the request without an answer."));
  }
  exchange_->respond({.status = 200, .body = format_->body(prompts_, answers, usage_)});
}

// An HTTP error where none of the answer has been sent, else an event in its stream. The other
// prompts end by their sinks' next output, which finds failed_.
void Generation::fail(const Status& status) {
  if (failed_.exchange(true)) return;
  if (!head_.options.stream) {
    exchange_->respond(format_->error(status));
    return;
  }
  open_stream();
  std::string tail;
  format_->fail_stream(tail, status);
  exchange_->write(tail);
  exchange_->end_stream();
}

}  // namespace octavo::serve
