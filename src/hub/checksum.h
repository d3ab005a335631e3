// Checksum: a file's checksum as the hub names files by it, computed as the bytes come: SHA-256 for
// large files, git's SHA-1 of a blob for the others. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace octavo::hub {

class Checksum {
 public:
  // `expected`: 64 or 40 hex digits in lower case, which says the kind; `size` of the whole file.
  Checksum(std::string expected, int64_t size);
  ~Checksum();
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;

  void restart();
  void add(std::string_view bytes);
  // Whether the bytes since restart() are the ones expected. Call once.
  bool matches();

 private:
  struct State;
  const std::string expected_;
  const int64_t size_;
  std::unique_ptr<State> state_;
};

}  // namespace octavo::hub
