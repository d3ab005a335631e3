// What fuzz targets share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <string_view>

namespace octavo {

// What must hold whatever the input is.
inline void require(bool condition) {
  if (!condition) std::abort();
}

// The first byte of the input chooses one of `parts`, which gets the rest. The order of `parts` is
// the corpus's: new ones go to the end.
inline void run_one_of(const uint8_t* data, size_t size,
                       std::initializer_list<void (*)(std::string_view)> parts) {
  if (size == 0) return;
  parts.begin()[data[0] % parts.size()]({reinterpret_cast<const char*>(data) + 1, size - 1});
}

}  // namespace octavo
