// History: what was typed before, kept in a file that only its owner can read. One thread; another
// program that appends to the same file does no harm.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace octavo::cli {

class History {
 public:
  static constexpr size_t kMaxEntries = 1000;

  History() = default;  // nothing is kept
  // Reads the file if there is one. A file that cannot be read or written means that nothing is
  // kept: no chat fails for its history.
  explicit History(std::filesystem::path file);

  // Appends, unless it equals the entry before it.
  void add(const std::string& entry);
  const std::vector<std::string>& entries() const { return entries_; }  // oldest first

 private:
  void rewrite() const;

  std::filesystem::path file_;
  std::vector<std::string> entries_;
};

// $XDG_STATE_HOME/octavo/<name>, or in ~/.local/state; empty where neither is known.
std::filesystem::path state_file(const std::string& name);

}  // namespace octavo::cli
