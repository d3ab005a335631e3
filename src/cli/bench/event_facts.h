// EventFacts: what the measurement needs of one event of a stream. The load client's thread.
#pragma once

#include <string_view>

namespace octavo::bench {

// Found by scanning, because parsing JSON for every token
// of 2,000 streams would take the CPU from the server under test. An escaped quote never looks like
// a key's quote.
struct EventFacts {
  bool has_choices = false;  // "choices" is there and not empty
  bool is_error = false;
  int completion_tokens = -1;  // of "usage"; -1: not reported
  int prompt_tokens = -1;
};
EventFacts read_event(std::string_view payload);

}  // namespace octavo::bench
