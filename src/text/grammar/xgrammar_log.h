// What xgrammar has to say. It logs a warning wherever it leaves a constraint out; a user who asked
// for that constraint has to hear of it, so the first warning ends the work of this thread's
// AllocationLimit and becomes the error.
#pragma once

#include <string>

namespace octavo::text {

// The first warning on this thread since the last call; empty: none.
std::string take_xgrammar_warning();

}  // namespace octavo::text
