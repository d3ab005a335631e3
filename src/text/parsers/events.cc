#include "text/parsers/events.h"

#include <map>

namespace octavo::text {

void ParseEvents::add(ParseEventKind kind, std::string_view text, int call) {
  const bool is_text = kind == ParseEventKind::kContent || kind == ParseEventKind::kReasoning ||
                       kind == ParseEventKind::kCallArguments;
  if (is_text && text.empty()) return;
  if (is_text && !list_.empty() && list_.back().kind == kind && list_.back().call == call) {
    list_.back().text += text;
    return;
  }
  list_.push_back({kind, std::string(text), call});
}

ParsedOutput collect(const std::vector<ParseEvent>& events) {
  ParsedOutput out;
  std::map<int, ParsedCall> calls;
  for (const ParseEvent& event : events) {
    switch (event.kind) {
      case ParseEventKind::kContent:
        out.content += event.text;
        break;
      case ParseEventKind::kReasoning:
        out.reasoning += event.text;
        break;
      case ParseEventKind::kCallBegin:
        calls[event.call].name = event.text;
        break;
      case ParseEventKind::kCallArguments:
        calls[event.call].arguments += event.text;
        break;
      case ParseEventKind::kCallEnd:
        break;
      case ParseEventKind::kCallRetracted:
        calls.erase(event.call);
        break;
    }
  }
  for (auto& [index, call] : calls) out.calls.push_back(std::move(call));
  return out;
}

}  // namespace octavo::text
