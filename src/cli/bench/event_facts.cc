// Finds an event's facts by the keys that stand in it.
#include "cli/bench/event_facts.h"

#include <algorithm>
#include <charconv>

namespace octavo::bench {
namespace {

// The text after `"name":` and any blanks, or empty. A string value that equals the name has no
// colon behind it.
std::string_view value_of(std::string_view json, std::string_view quoted_name) {
  for (size_t at = json.find(quoted_name); at != std::string_view::npos;
       at = json.find(quoted_name, at + 1)) {
    std::string_view rest = json.substr(at + quoted_name.size());
    const auto skip_blanks = [&rest] {
      rest.remove_prefix(std::min(rest.find_first_not_of(" \t\r\n"), rest.size()));
    };
    skip_blanks();
    if (rest.empty() || rest[0] != ':') continue;
    rest.remove_prefix(1);
    skip_blanks();
    return rest;
  }
  return {};
}

int number_of(std::string_view json, std::string_view quoted_name) {
  const std::string_view text = value_of(json, quoted_name);
  int value = -1;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

EventFacts read_event(std::string_view payload) {
  EventFacts facts;
  std::string_view choices = value_of(payload, "\"choices\"");
  if (!choices.empty() && choices[0] == '[') {
    choices.remove_prefix(1);
    const size_t first = choices.find_first_not_of(" \t\r\n");
    facts.has_choices = first != std::string_view::npos && choices[first] != ']';
  } else {
    const std::string_view error = value_of(payload, "\"error\"");
    facts.is_error = !error.empty() && error.substr(0, 4) != "null";
  }
  facts.completion_tokens = number_of(payload, "\"completion_tokens\"");
  if (facts.completion_tokens >= 0) facts.prompt_tokens = number_of(payload, "\"prompt_tokens\"");
  return facts;
}

}  // namespace octavo::bench
