// octavo bench: chooses the benchmark.
#include <cstdio>

#include "cli/commands/commands.h"

namespace octavo::cli {

int bench_command(const Words& args) {
  static constexpr const char* kHelp =
      "usage: octavo bench latency|throughput|serve [flags]\n\n"
      "  latency     one batch, again and again, in this process\n"
      "  throughput  many requests at once, in this process\n"
      "  serve       any server of OpenAI's API, from outside\n\n"
      "Definitions and flags are those of `vllm bench`; `octavo bench latency --help` lists "
      "them.\n";
  const std::string name = args.empty() ? "" : args[0];
  const Words rest(args.begin() + (args.empty() ? 0 : 1), args.end());
  if (name == "latency") return bench_latency_command(rest);
  if (name == "throughput") return bench_throughput_command(rest);
  if (name == "serve") return bench_serve_command(rest);
  if (name == "--help" || name == "-h") {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (args.empty()) {
    std::fputs(kHelp, stderr);
    return kUsage;
  }
  return report(invalid_argument("unknown benchmark '" + name + "': latency, throughput or serve"),
                kUsage);
}

}  // namespace octavo::cli
