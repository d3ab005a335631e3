// octavo env
#include "cli/env.h"

#include <cstdio>

#include "cli/commands/commands.h"

namespace octavo::cli {

int env_command(const Words& args) {
  FlagSet flags("octavo env",
                "Says what this machine has that matters to Octavo: put it into bug reports.");
  if (const auto code = parse_or_exit(flags, args, "env")) return *code;
  std::fputs(environment_report(OCTAVO_VERSION).c_str(), stdout);
  return 0;
}

}  // namespace octavo::cli
