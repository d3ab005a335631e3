// Files of one JSON object a line, in and out: what `tokenize` and `render` have in common. Main
// thread.
#pragma once

#include <functional>
#include <string>

#include "cli/flags.h"
#include "octavo/status.h"
#include "octavo/value.h"

namespace octavo::cli {

struct JsonlFiles {
  std::string input, output;  // "-": standard input, standard output

  void declare(FlagSet& flags);
};

// That every one of `names` was given.
Status require_flags(const FlagSet& flags, const Words& names);

// Reads the input's lines one at a time, hands each to `convert` as a JSON object and writes what
// it returns, one line for one. Lines of white space alone are passed over. Stops at the first
// line that is no object or that `convert` refuses, and names it; what was written before stays.
Status convert_jsonl(const JsonlFiles& files,
                     const std::function<StatusOr<std::string>(const Value& object)>& convert);

}  // namespace octavo::cli
