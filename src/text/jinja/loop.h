// Loop: the `loop` variable of a running {% for %}. Made by the evaluator; its attributes are read
// by templates.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "text/jinja/ast.h"
#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace octavo::text::jinja {

class Frame;

struct Loop {
  Cursor cursor;
  const ast::For* statement;
  Frame* outer;    // the variables around the loop, for loop(…) of a recursive one
  int64_t depth0;  // how many recursive loops are around it
  int64_t index0 = -1;
  int64_t size = -1;  // once known
  Value before{}, current{};
  Value ahead{};       // the next item, where it was peeked at
  Value changed_on{};  // what loop.changed() was last given

  bool next(Runtime& runtime);
  // False at the end; else `ahead` holds the next item.
  bool peek(Runtime& runtime);
  int64_t length(Runtime& runtime);
  // kMissing if there is no such attribute.
  Value attribute(Runtime& runtime, std::string_view name);
};

}  // namespace octavo::text::jinja
