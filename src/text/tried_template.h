// A chat template with what trying it out has shown of it, and a cache of those that requests bring
// (--trust-request-chat-template): trying one out renders it several times.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "octavo/status.h"
#include "octavo/value.h"
#include "text/chat_content.h"
#include "text/chat_template.h"

namespace octavo::text {

// Immutable; any thread.
struct TriedTemplate {
  std::shared_ptr<const ChatTemplate> parsed;  // null: there is none
  ContentForm content = ContentForm::kString;
  CallForm calls;
  bool shows_developer = false;  // else such messages are shown as the system's
};

// An empty source makes an empty TriedTemplate. `content_format` as content_form() takes it;
// `special_tokens` are the template's variables. Errors (kInvalidArgument): the source does not
// parse.
StatusOr<TriedTemplate> try_template(std::string source, const std::string& content_format,
                                     const Value::Dict& special_tokens);

// Keeps the templates used last. Any thread.
class TriedTemplateCache {
 public:
  struct Limits {
    size_t templates = 16;  // few, as each is looked for among all
    size_t source_bytes = size_t{512} << 10;
  };
  TriedTemplateCache() : TriedTemplateCache(Limits()) {}
  explicit TriedTemplateCache(Limits limits) : limits_(limits) {}

  // The template of that source, tried out with these tokens (the same in every call) and the
  // content format "auto". Errors as try_template()'s; they are not kept.
  StatusOr<std::shared_ptr<const TriedTemplate>> get(const std::string& source,
                                                     const Value::Dict& special_tokens);

 private:
  struct Entry {
    std::string source;
    std::shared_ptr<const TriedTemplate> tried;
  };
  std::shared_ptr<const TriedTemplate> find(const std::string& source);
  void keep(const std::string& source, std::shared_ptr<const TriedTemplate> tried);

  const Limits limits_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // guarded by mutex_; the one used last first
  size_t source_bytes_ = 0;   // guarded by mutex_; of all entries
};

}  // namespace octavo::text
