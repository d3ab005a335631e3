// What to make of the flags of `vllm serve` that Octavo does not have: a table of name, shape and
// verdict. FlagSet asks it for every flag that is not its own. Constant data; any thread.
#pragma once

#include <span>
#include <string_view>

namespace octavo::cli {

enum class Arity { kSwitch, kValue, kMany };

struct VllmFlag {
  std::string_view name;   // without dashes: "tensor-parallel-size"
  std::string_view alias;  // "tp" of -tp; may be empty
  Arity arity;
  // Values with which the flag changes nothing here, separated by '|'; "*": any. Empty: it is never
  // harmless. A switch has the value "on"; its --no- form is always harmless.
  std::string_view harmless;
};

std::span<const VllmFlag> vllm_flags();
// By name or alias; null if vLLM has no such flag either.
const VllmFlag* find_vllm_flag(std::string_view name);
bool is_harmless(const VllmFlag& flag, std::string_view value);

}  // namespace octavo::cli
