#include "serve/testing_fake_engine.h"

#include <chrono>

#include "base/clock.h"
#include "base/utf8.h"
#include "text/chat_content.h"

namespace octavo::serve {

StatusOr<std::vector<TokenId>> ByteText::encode(std::string_view text,
                                                EncodeOptions options) const {
  if (on_encode_) on_encode_(text);
  if (!valid_utf8(text)) return invalid_argument("the text is no UTF-8");
  std::vector<TokenId> ids;
  if (options.add_special_tokens) ids.push_back(256);
  if (text == "[TOOL_CALLS]") {
    ids.push_back(258);
    return ids;
  }
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

std::string ByteText::decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  std::string out;
  for (const TokenId id : ids) {
    if (id < 256 || !skip_special_tokens) out += token_string(id);
  }
  return replace_invalid_utf8(out);
}

std::string ByteText::token_string(TokenId id) const {
  if (id == 256) return "<s>";
  if (id == 257) return "</s>";
  if (id == 258) return "[TOOL_CALLS]";
  return id >= 0 && id < 256 ? std::string(1, static_cast<char>(id)) : std::string();
}

StatusOr<RenderedChat> ByteText::render_chat(const ChatPrompt& prompt) const {
  std::string out;
  for (const Value& message : prompt.messages) {
    const std::string& role = message.find("role")->as_string();
    if (role == "forbidden") return invalid_argument("the template raised: no such role");
    out += role + ": " + text::content_text(*message.find("content")) + "\n";
  }
  if (prompt.tools) out += "tools: " + to_json(Value(*prompt.tools)) + "\n";
  std::string begin;
  for (const auto& [name, value] : prompt.template_kwargs) {
    if (name == "begin") begin = value.as_string();
    out += name + "=" + to_json(value) + "\n";
  }
  if (prompt.add_generation_prompt) out += "assistant: " + begin;
  return RenderedChat{std::move(out), {}};
}

FakeEngine::FakeEngine(Options options)
    : options_(std::move(options)), text_(options_.chat_template, options_.on_encode) {
  info_.name = "fake/model";
  info_.vocab_size = text_.vocab_size();
  info_.max_model_len = options_.max_model_len;
  info_.default_sampling = options_.default_sampling;
  thread_ = std::thread([this] { run(); });
}

FakeEngine::~FakeEngine() {
  shutdown(0);
}

StatusOr<std::string> FakeEngine::submit(GenerateRequest request,
                                         std::shared_ptr<StreamSink> sink) {
  if (request.sampling.temperature > 2) {
    return invalid_argument("temperature must be in [0, 2].").with_param("temperature");
  }
  if (request.prompt_token_ids.size() >= static_cast<size_t>(info_.max_model_len)) {
    return invalid_argument("This model's maximum context length is " +
                            std::to_string(info_.max_model_len) + " tokens.")
        .with_param("input_tokens");
  }
  for (const TokenId id : request.prompt_token_ids) {
    if (id < 0 || id >= info_.vocab_size)
      return invalid_argument("Token id out of vocabulary").with_param("prompt");
  }
  std::string id = request.request_id;
  const std::lock_guard lock(mutex_);
  if (draining_) return unavailable("the engine is shutting down");
  last_request_ = request;
  ids_.insert(id);
  incoming_.push_back({std::move(request), std::move(sink)});
  changed_.notify_all();
  return id;
}

void FakeEngine::cancel(const std::string& request_id) {
  const std::lock_guard lock(mutex_);
  if (!ids_.contains(request_id)) return;
  to_cancel_.insert(request_id);
  changed_.notify_all();
}

EngineStats FakeEngine::stats() const {
  return {.running = running(), .generation_tokens = generated_};
}

void FakeEngine::inspect(StateReader reader) {
  reader(std::make_shared<const EngineState>(
      EngineState{.running = running(),
                  .cache = {{.num_blocks = 60, .runs = "3u2s5c50f"}},
                  .sequences = {{.running = true,
                                 .prompt = 7,
                                 .computed = 8,
                                 .output = 2,
                                 .max_output = 12,
                                 .sampling = {.temperature = 0.5, .top_k = 3, .seed = 9}}}}));
}

int FakeEngine::running() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(ids_.size());
}

GenerateRequest FakeEngine::last_request() const {
  const std::lock_guard lock(mutex_);
  return last_request_;
}

bool FakeEngine::wait_until_running(int count, double seconds) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::duration<double>(seconds),
                           [&] { return static_cast<int>(ids_.size()) == count; });
}

void FakeEngine::shutdown(double timeout_seconds) {
  {
    std::unique_lock lock(mutex_);
    draining_ = true;
    changed_.wait_for(lock, std::chrono::duration<double>(timeout_seconds),
                      [this] { return ids_.empty(); });
    ending_ = true;
    changed_.notify_all();
    if (!thread_.joinable()) return;
  }
  thread_.join();
}

RequestOutput FakeEngine::make_output(const Active& active) const {
  const SamplingParams& sampling = active.request.sampling;
  const auto position = static_cast<size_t>(active.position);
  TokenId letter = 'a' + active.position % 26;
  if (position < options_.says.size()) letter = static_cast<unsigned char>(options_.says[position]);
  const auto logprobs = [&](int k) {
    TokenLogprobs at{.chosen = {letter, -0.5f, 1, std::string(1, static_cast<char>(letter))},
                     .top = {}};
    for (int i = 0; i < k; ++i)
      at.top.push_back({'A' + i, -0.5f - i, i + 1, std::string(1, static_cast<char>('A' + i))});
    return at;
  };
  RequestOutput out;
  out.request_id = active.request.request_id;
  out.num_prompt_tokens = static_cast<int>(active.request.prompt_token_ids.size());
  out.num_cached_tokens = 3;
  out.metrics = {.arrival = 8,
                 .first_scheduled = 8.5,
                 .first_token = 8.75,
                 .last_token = 8.75 + 0.125 * active.position};
  const bool last = active.position + 1 >= sampling.max_tokens.value_or(1 << 30);
  const bool ends = !options_.says.empty() && position + 1 == options_.says.size();
  for (int choice = 0; choice < sampling.n; ++choice) {
    CompletionOutput& c = out.outputs.emplace_back();
    c.index = choice;
    c.text = std::string(options_.text_repeat, static_cast<char>(letter));
    c.token_ids = {letter};
    if (sampling.logprobs) c.logprobs = {logprobs(*sampling.logprobs)};
    c.num_output_tokens = active.position + 1;
    if (last) c.finish_reason = FinishReason::kLength;
    if (ends) c.finish_reason = options_.says_ends;
  }
  if (sampling.prompt_logprobs && active.position == 0) {
    out.prompt_logprobs.resize(active.request.prompt_token_ids.size());
    for (size_t i = 1; i < out.prompt_logprobs.size(); ++i)
      out.prompt_logprobs[i] = logprobs(*sampling.prompt_logprobs);
  }
  out.finished = last || ends;
  if (active.position == options_.fail_at_token) {
    out.outputs.clear();
    out.finished = true;
    out.error = internal_error("the device was lost");
  }
  return out;
}

bool FakeEngine::step(Active& active) {
  RequestOutput output = make_output(active);
  generated_ += static_cast<int64_t>(output.outputs.size());
  ++active.position;
  const bool finished = output.finished;
  if (active.sink->on_output(std::move(output))) return !finished;
  ++refused_by_sink_;
  return false;
}

void FakeEngine::run() {
  std::vector<Active> active;
  while (true) {
    std::set<std::string> to_cancel;
    bool ending = false;
    {
      std::unique_lock lock(mutex_);
      if (active.empty()) changed_.wait(lock, [this] { return ending_ || !incoming_.empty(); });
      active.insert(active.end(), std::make_move_iterator(incoming_.begin()),
                    std::make_move_iterator(incoming_.end()));
      incoming_.clear();
      to_cancel.swap(to_cancel_);
      ending = ending_;
    }
    if (options_.before_step && !ending) options_.before_step();
    std::vector<std::string> ended;
    std::erase_if(active, [&](Active& a) {
      bool alive = true;
      if (ending || to_cancel.contains(a.request.request_id)) {
        if (!ending) ++cancelled_;
        RequestOutput output;
        for (int i = 0; i < a.request.sampling.n; ++i) {
          output.outputs.push_back(
              {.index = i, .finish_reason = FinishReason::kAbort, .num_output_tokens = a.position});
        }
        output.finished = true;
        a.sink->on_output(std::move(output));
        alive = false;
      } else {
        alive = step(a);
      }
      if (!alive) ended.push_back(a.request.request_id);
      return !alive;
    });
    if (!ended.empty()) {
      const std::lock_guard lock(mutex_);
      for (const std::string& id : ended) ids_.erase(id);
      changed_.notify_all();
    }
    thread_cpu_seconds_ = octavo::thread_cpu_seconds();
    if (ending) return;
    if (options_.step_seconds > 0)
      std::this_thread::sleep_for(std::chrono::duration<double>(options_.step_seconds));
  }
}

}  // namespace octavo::serve
