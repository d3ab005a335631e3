// Metrics of this process, under the names that all of Prometheus' client libraries use. A child
// engine (--engine-process) is another process and not in them.
#pragma once

#include <string>

namespace octavo::serve {

// Read from /proc at the time of the call; what cannot be read is left out. Any thread.
std::string process_metrics_text();

}  // namespace octavo::serve
