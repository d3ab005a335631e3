// Runtime: what one rendering owns besides its variables: the arena, whose words are whose, and the
// counters that bound its time, recursion and output. Passed by reference to everything that
// computes. One thread, that of the rendering.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/arena.h"
#include "text/jinja/error.h"
#include "text/jinja/provenance.h"
#include "text/jinja/value.h"

namespace octavo::text::jinja {

// Bounds on untrusted templates and data; each is far above what a chat template needs.
struct Limits {
  int64_t max_steps = 10'000'000;    // evaluations, list items and units of 64 bytes looked at
  int max_depth = 1000;              // nested evaluations, about 1 KiB of stack each
  size_t max_text_bytes = 16 << 20;  // of the output and of any one string
  size_t max_arena_bytes = 512 << 20;
};

class Runtime {
 public:
  Runtime(const Limits& limits, int64_t now)
      : arena(limits.max_arena_bytes), limits(limits), now(now) {}

  // Pays for `steps` units of work.
  void charge(int64_t steps) {
    steps_ += steps;
    if (steps_ > limits.max_steps) throw_limit("the template takes too many steps");
  }
  void charge_bytes(size_t bytes) { charge(1 + static_cast<int64_t>(bytes / 64)); }

  // Appends within the bound on one text.
  void append(std::string& out, std::string_view text) {
    charge_bytes(text.size());
    if (text.size() > limits.max_text_bytes - std::min(out.size(), limits.max_text_bytes)) {
      throw_limit("the template's output is too long");
    }
    out.append(text);
  }
  // The same; what of `text` is the template's own stays it.
  void append(Draft& out, std::string_view text) {
    const size_t offset = out.bytes.size();
    append(out.bytes, text);
    provenance.find(text, offset, out.own);
  }
  // `text`, wherever it lies, as the template's own: numbers, which spell no token by themselves.
  void append_own(Draft& out, std::string_view text);
  void append_repeated(Draft& out, std::string_view unit, int64_t times);

  Value text(std::string_view bytes, bool safe = false);  // copied
  Value text(const Draft& draft, bool safe = false);      // copied
  // `bytes` made from `source`: the template's own if all of `source` is.
  Value text_made_of(std::string_view source, std::string_view bytes, bool safe = false);
  Value concat(std::string_view left, std::string_view right, bool safe = false);
  Value list(const std::vector<Value>& items);
  Value tuple(const std::vector<Value>& items);
  Value function(std::string_view name, NativeFunction call, Value self = {});

  Value undefined_variable(std::string_view name);
  Value undefined_member(const Value& object, const Value& name);
  Value undefined_hint(std::string_view hint);
  Value unsafe_attribute(const Value& object, std::string_view name);

  Arena arena;
  Provenance provenance;
  const Limits limits;
  const int64_t now;  // Unix seconds

 private:
  friend class DepthGuard;
  // Claims the same parts of `copy` as are claimed of `text`, of which it is one.
  void claim_copy(std::string_view text, const char* copy);
  int64_t steps_ = 0;
  int depth_ = 0;
};

// One level of recursion, for as long as it lives.
class DepthGuard {
 public:
  explicit DepthGuard(Runtime& runtime) : runtime_(runtime) {
    if (++runtime_.depth_ > runtime_.limits.max_depth) {
      --runtime_.depth_;
      throw_limit("the template nests too deeply");
    }
  }
  ~DepthGuard() { --runtime_.depth_; }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

 private:
  Runtime& runtime_;
};

// Walks through any value that Python can iterate. Throws TypeError on construction for others.
class Cursor {
 public:
  Cursor(Runtime& runtime, const Value& source);
  bool next(Runtime& runtime, Value& out);
  const Value& source() const { return source_; }

 private:
  Value source_;
  size_t position_ = 0;
};

// All values of `source`, at most what the steps allow.
std::vector<Value> collect(Runtime& runtime, const Value& source);

// Fills out[i] with the argument of names[i], as Python binds a call; kMissing where not given.
// Throws TypeError for too many, unknown, doubled, or fewer than `required` arguments.
void bind(std::string_view function, const Args& args,
          std::initializer_list<std::string_view> names, size_t required, Value* out);
// Whether an optional argument is there and not None.
inline bool given(const Value& value) {
  return !value.is_missing() && !value.is_none();
}
// An optional argument that turns something on.
bool flag_argument(const Value& value);
// An argument that must be an integer.
int64_t int_argument(const Value& value);
// An argument that must be a string.
std::string_view string_argument(std::string_view function, const Value& value);

}  // namespace octavo::text::jinja
