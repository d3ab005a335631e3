// Regex: a tokenizer's regular expression, compiled by PCRE2's JIT. tokenizer.json writes
// Oniguruma's dialect; where the two read the same letters differently (\s, \w, \h), the pattern is
// rewritten first. Immutable; any thread (each thread has its own match stack).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "octavo/status.h"

namespace octavo::text {

class Regex {
 public:
  static StatusOr<std::shared_ptr<const Regex>> compile(std::string_view pattern);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // Finds the first match at or after `from` and sets [begin, end); false when there is none. Fails
  // when the match would need more than PCRE2's limits allow. REQUIRES: valid UTF-8, `from` at a
  // character's start.
  StatusOr<bool> find(std::string_view text, size_t from, size_t& begin, size_t& end) const;

 private:
  explicit Regex(void* code) : code_(code) {}
  void* code_;  // pcre2_code_8*
};

}  // namespace octavo::text
