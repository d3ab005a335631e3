#include "serve/responses/responses_items.h"

#include <algorithm>
#include <iterator>

#include "base/json_writer.h"
#include "octavo/value.h"
#include "serve/openai/logprobs_json.h"
#include "serve/random_id.h"

namespace octavo::serve {

namespace {

using Kind = ResponseItem::Kind;

ResponseItem make_item(Kind kind) {
  const std::string_view prefix =
      kind == Kind::kMessage ? "msg_" : (kind == Kind::kReasoning ? "rs_" : "fc_");
  return {.kind = kind, .id = std::string(prefix) + random_hex(32)};
}

ResponseItem make_call(const ToolCallDelta& call) {
  ResponseItem item = make_item(Kind::kCall);
  item.call_id = call.id;
  item.name = call.name;
  return item;
}

// What became of the last item of an answer that ended so.
std::string_view last_status(const ResponseItem& item, FinishReason reason) {
  if (reason == FinishReason::kStop) return "completed";
  const bool whole =
      item.kind == Kind::kCall ? parse_json(item.text).ok() : reason == FinishReason::kRepetition;
  return whole ? "completed" : "incomplete";
}

// Those of the tokens that `text` is made of: thinking, marks and the end of the sequence have
// log-probabilities, too. All, where the text is not found in theirs (half a character is not).
std::vector<TokenLogprobs> logprobs_of(const std::string& text,
                                       const std::vector<TokenLogprobs>& tokens) {
  std::string joined;
  for (const TokenLogprobs& token : tokens) joined += token.chosen.text;
  const size_t begin = joined.rfind(text);
  if (begin == std::string::npos) return tokens;
  const size_t end = begin + text.size();
  std::vector<TokenLogprobs> out;
  size_t at = 0;
  for (const TokenLogprobs& token : tokens) {
    const size_t next = at + token.chosen.text.size();
    if (next > begin && at < end) out.push_back(token);
    at = next;
  }
  return out;
}

void append_member(std::string& out, std::string_view name, std::string_view text) {
  out.append(",\"").append(name).append("\":");
  append_json_string(out, text);
}

// {"type":"output_text",…} or {"type":"reasoning_text",…}
void append_part(std::string& out, const ResponseItem& item, const AnswerOptions& options) {
  const bool message = item.kind == Kind::kMessage;
  out.append("{\"type\":\"").append(message ? "output_text\"" : "reasoning_text\"");
  append_member(out, "text", item.text);
  if (message) {
    out += ",\"annotations\":[],\"logprobs\":";
    append_logprob_list(out, item.logprobs, options);
  }
  out += '}';
}

// `with_parts` false: as it stands when it is announced.
void append_item(std::string& out, const ResponseItem& item, const AnswerOptions& options,
                 bool with_parts) {
  out += "{\"id\":";
  append_json_string(out, item.id);
  append_member(out, "status", item.status);
  switch (item.kind) {
    case Kind::kCall:
      out += ",\"type\":\"function_call\"";
      append_member(out, "call_id", item.call_id);
      append_member(out, "name", item.name);
      append_member(out, "arguments", item.text);
      out += '}';
      return;
    case Kind::kReasoning:
      out += ",\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":null,\"content\":[";
      break;
    case Kind::kMessage:
      out += ",\"type\":\"message\",\"role\":\"assistant\",\"content\":[";
      break;
  }
  if (with_parts) append_part(out, item, options);
  out += "]}";
}

}  // namespace

std::vector<ResponseItem> make_items(const AnswerPiece& answer) {
  std::vector<ResponseItem> items;
  const auto add = [&](ResponseItem item, const std::string& text) -> ResponseItem& {
    item.text = text;
    item.status = "completed";
    return items.emplace_back(std::move(item));
  };
  const ChatDelta& chat = answer.chat;
  if (!chat.reasoning.empty()) add(make_item(Kind::kReasoning), chat.reasoning);
  if (!chat.content.empty()) {
    add(make_item(Kind::kMessage), chat.content).logprobs =
        logprobs_of(chat.content, answer.output.logprobs);
  }
  for (const ToolCallDelta& call : chat.calls) add(make_call(call), call.arguments);
  if (!items.empty()) items.back().status = last_status(items.back(), answer.output.finish_reason);
  return items;
}

std::string item_json(const ResponseItem& item, const AnswerOptions& options) {
  std::string out;
  append_item(out, item, options, true);
  return out;
}

std::string items_json(const std::vector<ResponseItem>& items, const AnswerOptions& options) {
  std::string out = "[";
  for (const ResponseItem& item : items) {
    if (&item != &items.front()) out += ',';
    append_item(out, item, options, true);
  }
  out += ']';
  return out;
}

void EventWriter::begin(std::string& out, std::string_view type) {
  out.append("event: ").append(type).append("\ndata: {\"type\":\"").append(type);
  out.append("\",\"sequence_number\":").append(std::to_string(next_++));
}

void ItemStream::begin_event(std::string& out, std::string_view type) {
  events_.begin(out, type);
  out.append(",\"output_index\":").append(std::to_string(items_.size() - 1));
}

// The last item's one part begins or ends.
void ItemStream::append_part_event(std::string& out, bool done) {
  const ResponseItem& item = items_.back();
  std::string type =
      item.kind == Kind::kMessage ? "response.content_part." : "response.reasoning_part.";
  begin_event(out, type.append(done ? "done" : "added"));
  append_member(out, "item_id", item.id);
  out += ",\"content_index\":0,\"part\":";
  append_part(out, item, options_);
  events_.end(out);
}

void ItemStream::open(std::string& out, ResponseItem item) {
  if (open_) close(out, "completed");
  items_.push_back(std::move(item));
  open_ = true;
  begin_event(out, "response.output_item.added");
  out += ",\"item\":";
  append_item(out, items_.back(), options_, false);
  events_.end(out);
  if (items_.back().kind != Kind::kCall) append_part_event(out, false);
}

void ItemStream::close(std::string& out, std::string_view status) {
  ResponseItem& item = items_.back();
  item.status = status;
  open_ = false;
  open_call_ = -1;
  const bool call = item.kind == Kind::kCall;
  begin_event(out, call ? "response.function_call_arguments.done"
                        : (item.kind == Kind::kMessage ? "response.output_text.done"
                                                       : "response.reasoning_text.done"));
  append_member(out, "item_id", item.id);
  if (call) {
    append_member(out, "name", item.name);
    append_member(out, "arguments", item.text);
  } else {
    out += ",\"content_index\":0";
    append_member(out, "text", item.text);
  }
  if (item.kind == Kind::kMessage) {
    out += ",\"logprobs\":";
    append_logprob_list(out, item.logprobs, options_);
  }
  events_.end(out);
  if (!call) append_part_event(out, true);
  begin_event(out, "response.output_item.done");
  out += ",\"item\":";
  append_item(out, item, options_, true);
  events_.end(out);
}

void ItemStream::add_text(std::string& out, Kind kind, const std::string& text,
                          std::vector<TokenLogprobs> logprobs) {
  if (text.empty()) return;
  if (!open_ || items_.back().kind != kind) open(out, make_item(kind));
  ResponseItem& item = items_.back();
  const bool message = kind == Kind::kMessage;
  begin_event(out, message ? "response.output_text.delta" : "response.reasoning_text.delta");
  append_member(out, "item_id", item.id);
  out += ",\"content_index\":0";
  append_member(out, "delta", text);
  if (message) {
    out += ",\"logprobs\":";
    append_logprob_list(out, logprobs, options_);
  }
  events_.end(out);
  item.text += text;
  std::move(logprobs.begin(), logprobs.end(), std::back_inserter(item.logprobs));
}

void ItemStream::add_call(std::string& out, const ToolCallDelta& call) {
  if (!call.id.empty()) {
    open(out, make_call(call));
    open_call_ = call.index;
  }
  if (call.index != open_call_ || call.arguments.empty()) return;
  begin_event(out, "response.function_call_arguments.delta");
  append_member(out, "item_id", items_.back().id);
  append_member(out, "delta", call.arguments);
  events_.end(out);
  items_.back().text += call.arguments;
}

void ItemStream::add(std::string& out, const AnswerPiece& piece) {
  const ChatDelta& chat = piece.chat;
  const std::vector<TokenLogprobs>& logprobs = piece.output.logprobs;
  waiting_.insert(waiting_.end(), logprobs.begin(), logprobs.end());
  if (chat.empty()) return;
  std::vector<TokenLogprobs> tokens;
  tokens.swap(waiting_);
  // What was taken for a call and told as one cannot be taken back: it stays, unfinished.
  if (std::find(chat.retracted.begin(), chat.retracted.end(), open_call_) != chat.retracted.end()) {
    close(out, "incomplete");
  }
  add_text(out, Kind::kReasoning, chat.reasoning, {});
  add_text(out, Kind::kMessage, chat.content, logprobs_of(chat.content, tokens));
  for (const ToolCallDelta& call : chat.calls) add_call(out, call);
}

void ItemStream::finish(std::string& out, FinishReason reason) {
  if (open_) close(out, last_status(items_.back(), reason));
}

}  // namespace octavo::serve
