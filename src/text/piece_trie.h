// PieceTrie: a vocabulary's pieces by their bytes, to walk down a text one byte at a time. Built by
// the models that read pieces from the left (Unigram, WordPiece, SentencePiece's symbols).
// Immutable after construction; any thread.
//
// Nodes stand breadth first, so that the children of a node are neighbours, ordered by byte.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "octavo/sampling_params.h"

namespace octavo::text {

// A trie's walks are as long as its longest piece, from every place in a text: this bounds them.
inline constexpr size_t kMaxPieceBytes = 1024;

class PieceTrie {
 public:
  struct Entry {
    std::string_view text;
    TokenId id;
  };
  PieceTrie() : PieceTrie(std::vector<Entry>()) {}
  // Of equal texts the last counts. REQUIRES: no text longer than kMaxPieceBytes.
  explicit PieceTrie(std::vector<Entry> entries);

  static constexpr int32_t kRoot = 0;
  bool empty() const { return nodes_.size() == 1; }
  // The node that `byte` leads to, or -1.
  int32_t child(int32_t node, uint8_t byte) const;
  // The node that `text` leads to from the root, or -1.
  int32_t walk(std::string_view text) const;
  TokenId id_at(int32_t node) const { return nodes_[node].id; }  // -1: no piece ends here

  struct Match {
    size_t bytes = 0;  // 0: none
    TokenId id = -1;
  };
  // The longest piece that `text` begins with, walking from `node`.
  Match longest(std::string_view text, int32_t node = kRoot) const;

 private:
  struct Node {
    uint32_t first_child = 0;
    uint16_t children = 0;
    uint8_t byte = 0;  // on the edge from its parent
    TokenId id = -1;
  };
  std::vector<Node> nodes_;
  int32_t root_child_[256];
};

inline int32_t PieceTrie::child(int32_t node, uint8_t byte) const {
  if (node == kRoot) return root_child_[byte];
  const Node& parent = nodes_[node];
  uint32_t begin = parent.first_child, end = begin + parent.children;
  while (end - begin > 8) {
    const uint32_t middle = begin + (end - begin) / 2;
    (nodes_[middle].byte <= byte ? begin : end) = middle;
  }
  while (begin != end && nodes_[begin].byte < byte) ++begin;
  return begin != end && nodes_[begin].byte == byte ? static_cast<int32_t>(begin) : -1;
}

}  // namespace octavo::text
