// ChatTemplate: a model's Jinja chat template, parsed once. Immutable; any thread.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/status.h"
#include "octavo/text.h"
#include "octavo/value.h"

namespace octavo::text {

// How a rendering failed; the goldens' kinds (shared/data/chat_templates/README.md).
enum class TemplateErrorKind { kNone, kSyntax, kUndefined, kRaised, kSecurity, kPython, kLimit };
std::string_view to_string(TemplateErrorKind kind);

struct RenderResult {
  std::string output;
  TemplateErrorKind error = TemplateErrorKind::kNone;
  std::string message;  // for kRaised exactly what the template gave to raise_exception
  std::vector<TextRange> from_request;  // of `output`: what the template did not write itself
  bool ok() const { return error == TemplateErrorKind::kNone; }
};

class ChatTemplate {
 public:
  // Parses Jinja source. Errors name the line.
  static StatusOr<std::shared_ptr<const ChatTemplate>> parse(std::string source);

  // Renders with both dicts' members as globals; where both have a name, the request's counts.
  // `model`: the model's special tokens, which are the template's own words as its literals are;
  // `request`: everything else. `now` (Unix seconds, read as local time) feeds strftime_now.
  RenderResult render(const Value::Dict& model, const Value::Dict& request, int64_t now) const;
  RenderResult render(const Value::Dict& request, int64_t now) const {
    return render({}, request, now);
  }

  ~ChatTemplate();

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// What transformers does before it renders: the reasoning of a message, given as
// `reasoning_content`, `thinking` or `reasoning` (the first that is there), is copied to
// `reasoning_content`, and to `thinking` if the message has none.
void copy_reasoning(Value::List& messages);

}  // namespace octavo::text
