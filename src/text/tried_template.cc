#include "text/tried_template.h"

#include <algorithm>
#include <iterator>

#include "base/status_macros.h"

namespace octavo::text {

StatusOr<TriedTemplate> try_template(std::string source, const std::string& content_format,
                                     const Value::Dict& special_tokens) {
  TriedTemplate out;
  if (source.empty()) return out;
  ASSIGN_OR_RETURN(out.parsed, ChatTemplate::parse(std::move(source)));
  ASSIGN_OR_RETURN(out.content, content_form(content_format, *out.parsed, special_tokens));
  out.calls = call_form(*out.parsed, special_tokens);
  out.shows_developer = shows_developer(*out.parsed, special_tokens, out.content);
  return out;
}

StatusOr<std::shared_ptr<const TriedTemplate>> TriedTemplateCache::get(
    const std::string& source, const Value::Dict& special_tokens) {
  if (auto kept = find(source)) return kept;
  // Outside the lock: a slow template holds up nobody but its own requests.
  ASSIGN_OR_RETURN(TriedTemplate tried, try_template(source, "auto", special_tokens));
  auto made = std::make_shared<const TriedTemplate>(std::move(tried));
  keep(source, made);
  return std::shared_ptr<const TriedTemplate>(std::move(made));
}

std::shared_ptr<const TriedTemplate> TriedTemplateCache::find(const std::string& source) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.source == source; });
  if (found == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found);
  return found->tried;
}

void TriedTemplateCache::keep(const std::string& source,
                              std::shared_ptr<const TriedTemplate> tried) {
  if (source.size() > limits_.source_bytes || limits_.templates == 0) return;
  std::list<Entry> fresh;
  fresh.push_back({source, std::move(tried)});
  std::list<Entry> dropped;  // destroyed after the lock is gone
  const std::lock_guard lock(mutex_);
  // Another request may have brought the same meanwhile; then there are two, and the older one
  // ages.
  entries_.splice(entries_.begin(), fresh);
  source_bytes_ += source.size();
  while (entries_.size() > limits_.templates || source_bytes_ > limits_.source_bytes) {
    source_bytes_ -= entries_.back().source.size();
    dropped.splice(dropped.begin(), entries_, std::prev(entries_.end()));
  }
}

}  // namespace octavo::text
