// The loop variable looks at most one item ahead, so that a loop over a generator stays lazy until
// a template asks for its length.
#include "text/jinja/loop.h"

#include <vector>

#include "text/jinja/operators.h"

namespace octavo::text::jinja {

namespace {
// The rest of a generator, once loop.length had to know how much it is.
class Buffered : public Iterator {
 public:
  explicit Buffered(std::span<const Value> items) : items_(items) {}
  bool next(Runtime&, Value& out) override {
    if (position_ >= items_.size()) return false;
    out = items_[position_++];
    return true;
  }

 private:
  std::span<const Value> items_;
  size_t position_ = 0;
};

Value loop_cycle(Runtime&, const Value& self, const Args& args) {
  if (args.positional.empty()) throw_python("TypeError: no items for cycling given");
  return args.positional[self.as_loop().index0 % static_cast<int64_t>(args.positional.size())];
}

Value loop_changed(Runtime& runtime, const Value& self, const Args& args) {
  Loop& loop = self.as_loop();
  const Value now = runtime.tuple({args.positional.begin(), args.positional.end()});
  if (!loop.changed_on.is_missing() && equal(runtime, loop.changed_on, now))
    return Value::boolean(false);
  loop.changed_on = now;
  return Value::boolean(true);
}
}  // namespace

bool Loop::next(Runtime& runtime) {
  if (!peek(runtime)) return false;
  ++index0;
  before = current;
  current = ahead;
  ahead = Value();
  return true;
}

bool Loop::peek(Runtime& runtime) {
  if (!ahead.is_missing()) return true;
  return cursor.next(runtime, ahead);
}

int64_t Loop::length(Runtime& runtime) {
  if (size >= 0) return size;
  if (const auto known = length_if_any(runtime, cursor.source())) return size = *known;
  std::vector<Value> rest;
  for (Value item; cursor.next(runtime, item);) rest.push_back(item);
  size = static_cast<int64_t>(rest.size()) + index0 + 1 + !ahead.is_missing();
  cursor = Cursor(runtime, Value::iterator(runtime.arena.make<Buffered>(runtime.arena.copy(rest))));
  return size;
}

Value Loop::attribute(Runtime& runtime, std::string_view name) {
  const auto integer = [](int64_t i) { return Value::integer(i); };
  if (name == "index") return integer(index0 + 1);
  if (name == "index0") return integer(index0);
  if (name == "first") return Value::boolean(index0 == 0);
  if (name == "last") return Value::boolean(!peek(runtime));
  if (name == "length") return integer(length(runtime));
  if (name == "revindex") return integer(length(runtime) - index0);
  if (name == "revindex0") return integer(length(runtime) - index0 - 1);
  if (name == "depth") return integer(depth0 + 1);
  if (name == "depth0") return integer(depth0);
  if (name == "previtem")
    return index0 == 0 ? runtime.undefined_hint("there is no previous item") : before;
  if (name == "nextitem")
    return peek(runtime) ? ahead : runtime.undefined_hint("there is no next item");
  if (name == "cycle") return runtime.function("cycle", loop_cycle, Value::loop(this));
  if (name == "changed") return runtime.function("changed", loop_changed, Value::loop(this));
  return {};
}

}  // namespace octavo::text::jinja
