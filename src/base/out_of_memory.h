// OutOfMemory: a std::bad_alloc that says what there was no room for, so that the failure of a step
// can tell whether it was the device's memory, and how much was asked for.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <string>

#include "base/rounding.h"

namespace octavo {

class OutOfMemory final : public std::bad_alloc {
 public:
  // `what`: "no 64 MiB of device memory left", or the two parts of that.
  explicit OutOfMemory(const std::string& what)
      : what_(std::make_shared<const std::string>(what)) {}
  OutOfMemory(size_t bytes, const std::string& kind)
      : OutOfMemory("no " + std::to_string(divide_up(bytes, size_t{1} << 20)) + " MiB of " + kind +
                    " left") {}
  const char* what() const noexcept override { return what_->c_str(); }

 private:
  std::shared_ptr<const std::string> what_;  // shared, because copying must not throw
};

// What it says; of another std::bad_alloc, "no memory left".
inline std::string describe(const std::bad_alloc& error) {
  const auto* known = dynamic_cast<const OutOfMemory*>(&error);
  return known ? known->what() : "no memory left";
}

}  // namespace octavo
