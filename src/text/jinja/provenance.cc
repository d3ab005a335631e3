#include "text/jinja/provenance.h"

#include <algorithm>

namespace octavo::text::jinja {

namespace {
void append_range(std::vector<TextRange>& ranges, TextRange range) {
  if (!ranges.empty() && ranges.back().end == range.begin) {
    ranges.back().end = range.end;
  } else {
    ranges.push_back(range);
  }
}
}  // namespace

void Provenance::claim(std::string_view text) {
  if (text.empty()) return;
  auto begin = reinterpret_cast<uintptr_t>(text.data());
  uintptr_t end = begin + text.size();
  auto next = claimed_.upper_bound(begin);
  if (next != claimed_.begin()) {
    const auto before = std::prev(next);
    if (before->second >= begin) {
      begin = before->first;
      next = before;
    }
  }
  while (next != claimed_.end() && next->first <= end) {
    end = std::max(end, next->second);
    next = claimed_.erase(next);
  }
  claimed_.emplace_hint(next, begin, end);
}

void Provenance::find(std::string_view text, size_t offset, std::vector<TextRange>& ranges) const {
  const auto begin = reinterpret_cast<uintptr_t>(text.data());
  const uintptr_t end = begin + text.size();
  auto it = claimed_.upper_bound(begin);
  if (it != claimed_.begin() && std::prev(it)->second > begin) --it;
  for (; it != claimed_.end() && it->first < end; ++it) {
    const uintptr_t from = std::max(begin, it->first), to = std::min(end, it->second);
    append_range(ranges, {offset + (from - begin), offset + (to - begin)});
  }
}

bool Provenance::owns(std::string_view text) const {
  const auto begin = reinterpret_cast<uintptr_t>(text.data());
  const auto it = claimed_.upper_bound(begin);
  return text.empty() || (it != claimed_.begin() && std::prev(it)->second >= begin + text.size());
}

std::vector<TextRange> complement(const std::vector<TextRange>& ranges, size_t size) {
  std::vector<TextRange> out;
  size_t done = 0;
  for (const TextRange& range : ranges) {
    if (range.begin > done) out.push_back({done, range.begin});
    done = range.end;
  }
  if (done < size) out.push_back({done, size});
  return out;
}

}  // namespace octavo::text::jinja
