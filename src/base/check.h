// CHECK: ends the program on a bug of our own. Nothing a user sends, and no file, may reach one.
#pragma once

namespace octavo {
[[noreturn]] void check_failed(const char* file, int line, const char* expression);
}  // namespace octavo

#define CHECK(condition)                        \
  (__builtin_expect(!!(condition), 1) ? (void)0 \
                                      : ::octavo::check_failed(__FILE__, __LINE__, #condition))
#ifdef NDEBUG
#define DCHECK(condition) ((void)0)
#else
#define DCHECK(condition) CHECK(condition)
#endif
