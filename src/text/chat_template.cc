// The border of the template engine: what is thrown below becomes a Status or a RenderResult here.
// Called by the server's threads, each rendering with a Runtime of its own.
#include "text/chat_template.h"

#include <new>
#include <utility>

#include "text/jinja/error.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/parser.h"

namespace octavo::text {

std::string_view to_string(TemplateErrorKind kind) {
  static constexpr std::string_view kNames[] = {"none",     "syntax", "undefined", "raised",
                                                "security", "python", "limit"};
  return kNames[static_cast<int>(kind)];
}

struct ChatTemplate::Impl {
  std::unique_ptr<const jinja::Template> parsed;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;

StatusOr<std::shared_ptr<const ChatTemplate>> ChatTemplate::parse(std::string source) {
  try {
    auto impl = std::make_unique<Impl>();
    impl->parsed = jinja::parse(source);
    return std::shared_ptr<const ChatTemplate>(new ChatTemplate(std::move(impl)));
  } catch (const jinja::TemplateError& error) {
    return invalid_argument("chat template: " + error.message);
  } catch (const std::bad_alloc&) {
    return resource_exhausted("chat template: out of memory");
  }
}

RenderResult ChatTemplate::render(const Value::Dict& model, const Value::Dict& request,
                                  int64_t now) const {
  try {
    jinja::Runtime runtime(jinja::Limits(), now);
    jinja::Evaluator evaluator(*impl_->parsed, runtime);
    jinja::Draft draft = evaluator.render(model, request);
    std::vector<TextRange> rest = jinja::complement(draft.own, draft.bytes.size());
    return {.output = std::move(draft.bytes), .from_request = std::move(rest)};
  } catch (const jinja::TemplateError& error) {
    return {{}, error.kind, error.message};
  } catch (const std::bad_alloc&) {
    return {{}, TemplateErrorKind::kLimit, "out of memory"};
  }
}

void copy_reasoning(Value::List& messages) {
  for (Value& message : messages) {
    if (!message.is_dict()) continue;
    for (const std::string_view name : {"reasoning_content", "thinking", "reasoning"}) {
      const Value* found = message.find(name);
      if (found == nullptr || found->is_null()) continue;
      const Value reasoning = *found;
      message.set("reasoning_content", reasoning);
      if (message.find("thinking") == nullptr) message.set("thinking", reasoning);
      break;
    }
  }
}

}  // namespace octavo::text
