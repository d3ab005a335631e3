// Times in seconds as double: the steady clock for durations, the wall clock for `created` fields.
#pragma once

#include <cstdint>

namespace octavo {

double steady_seconds();
int64_t unix_seconds();
// CPU time used by the calling thread.
double thread_cpu_seconds();

}  // namespace octavo
