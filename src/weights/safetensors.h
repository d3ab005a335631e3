// safetensors: 8 bytes of header length (little-endian), a JSON header that maps names to dtype,
// shape and a byte range, then the data. A file is untrusted: everything is checked before any byte
// of data is touched, and every failure names the file and the tensor. Immutable once open; any
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/status.h"
#include "tensor/tensor.h"

namespace octavo {

// What the header says of one tensor.
struct SafetensorsEntry {
  std::string name;
  std::string dtype_name;  // "BF16"
  std::optional<DType>
      dtype;  // none: a format that we do not load (such a tensor may still be ignorable)
  std::vector<int64_t> dims;
  uint64_t begin = 0;  // byte range in the file
  uint64_t end = 0;

  std::string shape_text() const;  // "[2, 3]"
};

// Reads the header of a file of `file_bytes` bytes; `start` holds the file's first bytes, at least
// the whole header or else all there is. `file` names the file in errors.
StatusOr<std::vector<SafetensorsEntry>> parse_safetensors_header(std::string_view start,
                                                                 uint64_t file_bytes,
                                                                 const std::string& file);

class SafetensorsFile {
 public:
  static StatusOr<std::unique_ptr<SafetensorsFile>> open(const std::filesystem::path& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::string& path() const { return path_; }
  uint64_t bytes() const { return bytes_; }
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }
  const std::byte* data(uint64_t offset) const { return map_ + offset; }

  // Starts reading a byte range from the disk, whole, where the kernel would do so in small steps.
  void prefetch(uint64_t begin, uint64_t end) const;
  // Takes the pages of a byte range out of the process; they stay in the page cache and come back
  // if read.
  void drop(uint64_t begin, uint64_t end) const;

 private:
  SafetensorsFile(std::string path, std::byte* map, uint64_t bytes)
      : path_(std::move(path)), map_(map), bytes_(bytes) {}
  std::string path_;
  std::byte* map_;
  uint64_t bytes_;
  std::vector<SafetensorsEntry> entries_;
};

}  // namespace octavo
