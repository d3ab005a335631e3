#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace octavo {

void check_failed(const char* file, int line, const char* expression) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s (a bug in octavo)\n", file, line, expression);
  std::abort();
}

}  // namespace octavo
