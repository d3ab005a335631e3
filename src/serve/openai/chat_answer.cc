#include "serve/openai/chat_answer.h"

#include <algorithm>

#include "base/check.h"
#include "serve/random_id.h"

namespace octavo::serve {

namespace {

// The ids that the models' own templates take: mistral's has nine letters and digits, kimi_k2's
// repeats name and number.
std::string call_id(const ChatParsing& parsing, const std::string& name, int index) {
  if (parsing.parser.tool_parser == "mistral") {
    return random_word(9, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
  }
  if (parsing.parser.tool_parser == "kimi_k2") {
    return "functions." + name + ":" + std::to_string(parsing.calls_before + index);
  }
  return parsing.call_id_prefix + random_hex(32);
}

}  // namespace

void ChatDelta::merge(ChatDelta&& more) {
  reasoning += more.reasoning;
  for (const int index : more.retracted) {
    const auto told = std::find_if(calls.begin(), calls.end(),
                                   [&](const ToolCallDelta& call) { return call.index == index; });
    if (told != calls.end() && !told->id.empty()) {
      calls.erase(told);
    } else {
      retracted.push_back(index);
    }
  }
  content += more.content;
  for (ToolCallDelta& call : more.calls) {
    if (!calls.empty() && calls.back().index == call.index) {
      calls.back().arguments += call.arguments;
    } else {
      calls.push_back(std::move(call));
    }
  }
  called_tools = more.called_tools;
}

ChatAnswer::ChatAnswer(const ChatParsing* parsing) : parsing_(parsing) {
  if (parsing == nullptr) return;
  auto parser = text::OutputParser::make(parsing->parser);
  CHECK(parser.ok());
  parser_ = *std::move(parser);
}

ChatDelta ChatAnswer::add(CompletionOutput& output) {
  ChatDelta delta;
  if (!parser_) {
    delta.content = std::move(output.text);
    output.text.clear();
    return delta;
  }
  const bool thought = parser_->thinking();
  take(parser_->feed(output.text), delta);
  output.text.clear();
  if (thought && parser_->thinking()) {
    reasoning_tokens_ += static_cast<int>(output.token_ids.size());
  }
  if (!output.finished()) return delta;
  std::vector<text::ParseEvent> rest = parser_->finish();
  if (output.finish_reason == FinishReason::kLength ||
      output.finish_reason == FinishReason::kRepetition) {
    // A call that was cut off stays one, unfinished: clients can tell by the finish reason.
    const auto cut = std::find_if(rest.begin(), rest.end(), [](const text::ParseEvent& event) {
      return event.kind == text::ParseEventKind::kCallRetracted;
    });
    rest.erase(cut, rest.end());
    // What there is of a grammar's next call is neither call nor content.
    if (parsing_->parser.notation != text::CallNotation::kModel) {
      std::erase_if(rest, [](const text::ParseEvent& event) {
        return event.kind == text::ParseEventKind::kContent;
      });
    }
  }
  take(std::move(rest), delta);
  delta.called_tools = parsing_->calls_end_answer && whole_calls_ > 0 && !call_open_ &&
                       output.finish_reason == FinishReason::kStop;
  return delta;
}

void ChatAnswer::begin_call(const std::string& name, ChatDelta& delta) {
  call_open_ = true;
  call_hidden_ = !parsing_->parallel_calls && whole_calls_ > 0;
  if (call_hidden_) return;
  const int index = next_index_++;
  delta.calls.push_back(
      {.index = index, .id = call_id(*parsing_, name, index), .name = name, .arguments = {}});
}

void ChatAnswer::retract_call(ChatDelta& delta) {
  call_open_ = false;
  if (call_hidden_) return;
  const int index = next_index_ - 1;
  if (!delta.calls.empty() && delta.calls.back().index == index && !delta.calls.back().id.empty()) {
    delta.calls.pop_back();  // nobody has heard of it
    --next_index_;
    return;
  }
  std::erase_if(delta.calls, [&](const ToolCallDelta& call) { return call.index == index; });
  delta.retracted.push_back(index);
}

void ChatAnswer::take(std::vector<text::ParseEvent> events, ChatDelta& delta) {
  for (text::ParseEvent& event : events) {
    switch (event.kind) {
      case text::ParseEventKind::kContent:
        delta.content += event.text;
        break;
      case text::ParseEventKind::kReasoning:
        if (parsing_->include_reasoning) delta.reasoning += event.text;
        break;
      case text::ParseEventKind::kCallBegin:
        begin_call(event.text, delta);
        break;
      case text::ParseEventKind::kCallArguments:
        if (call_hidden_) break;
        if (delta.calls.empty() || delta.calls.back().index != next_index_ - 1) {
          delta.calls.push_back({.index = next_index_ - 1, .id = {}, .name = {}, .arguments = {}});
        }
        delta.calls.back().arguments += event.text;
        break;
      case text::ParseEventKind::kCallEnd:
        call_open_ = false;
        ++whole_calls_;
        break;
      case text::ParseEventKind::kCallRetracted:
        retract_call(delta);
        break;
    }
  }
}

}  // namespace octavo::serve
