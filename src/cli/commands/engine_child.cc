// octavo engine-child: the process behind --engine-process. Its parent started it and talks to it
// over a socket; it takes no flags.
#include "octavo/engine_child.h"

#include <cstdio>

#include "cli/commands/commands.h"

namespace octavo::cli {

int engine_child_command(const Words& args) {
  if (args.empty() && is_engine_child()) run_engine_child();
  std::fputs("octavo: engine-child is started by `octavo serve --engine-process` alone\n", stderr);
  return kUsage;
}

}  // namespace octavo::cli
