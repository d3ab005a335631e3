#include "text/piece_trie.h"

#include <algorithm>
#include <iterator>

namespace octavo::text {

PieceTrie::PieceTrie(std::vector<Entry> entries) : nodes_(1) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.text < b.text; });
  // The pieces below node i are entries[begin, end), and share their first `depth` bytes.
  struct Range {
    uint32_t begin, end, depth;
  };
  std::vector<Range> ranges = {{0, static_cast<uint32_t>(entries.size()), 0}};
  for (size_t i = 0; i < ranges.size(); ++i) {
    auto [at, end, depth] = ranges[i];
    for (; at < end && entries[at].text.size() == depth; ++at) nodes_[i].id = entries[at].id;
    nodes_[i].first_child = static_cast<uint32_t>(nodes_.size());
    while (at < end) {
      const char byte = entries[at].text[depth];
      uint32_t next = at;
      while (next < end && entries[next].text[depth] == byte) ++next;
      nodes_.push_back({.byte = static_cast<uint8_t>(byte)});
      ranges.push_back({at, next, depth + 1});
      ++nodes_[i].children;
      at = next;
    }
  }
  std::fill(std::begin(root_child_), std::end(root_child_), -1);
  for (uint32_t i = 0; i < nodes_[0].children; ++i) {
    const uint32_t child = nodes_[0].first_child + i;
    root_child_[nodes_[child].byte] = static_cast<int32_t>(child);
  }
}

int32_t PieceTrie::walk(std::string_view text) const {
  int32_t node = kRoot;
  for (size_t i = 0; i < text.size() && node >= 0; ++i)
    node = child(node, static_cast<uint8_t>(text[i]));
  return node;
}

PieceTrie::Match PieceTrie::longest(std::string_view text, int32_t node) const {
  Match match;
  for (size_t i = 0; i < text.size(); ++i) {
    node = child(node, static_cast<uint8_t>(text[i]));
    if (node < 0) break;
    if (nodes_[node].id >= 0) match = {i + 1, nodes_[node].id};
  }
  return match;
}

}  // namespace octavo::text
