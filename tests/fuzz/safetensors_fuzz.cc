// Fuzzes the safetensors header: whatever the bytes, parsing ends with entries inside the file or a
// Status.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  const auto entries = octavo::parse_safetensors_header(file, size, "fuzz");
  if (!entries.ok()) return 0;
  uint64_t covered = 0;
  for (const octavo::SafetensorsEntry& e : *entries) {
    if (e.begin > e.end || e.end > size) std::abort();
    covered += e.end - e.begin;
  }
  if (covered > size) std::abort();
  return 0;
}
