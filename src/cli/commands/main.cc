// octavo: the program. Finds the command, hands it the rest of the words; nothing else happens
// here.
#include <csignal>
#include <cstdio>
#include <string>

#include "cli/commands/commands.h"

namespace octavo::cli {
namespace {

struct Command {
  const char* name;
  const char* summary;
  int (*run)(const Words&);
};

constexpr Command kCommands[] = {
    {"serve", "serve a model over OpenAI's API", serve_command},
    {"chat", "talk with a model, here or on a server", chat_command},
    {"complete", "answer one prompt, for scripts and pipes", complete_command},
    {"pull", "download a model by its name", pull_command},
    {"list", "list the models that were downloaded", list_command},
    {"bench", "measure: latency, throughput, serve", bench_command},
    {"tokenize", "encode and decode texts with a model's tokenizer, JSON line by JSON line",
     tokenize_command},
    {"render", "render conversations with a chat template, JSON line by JSON line", render_command},
    {"run-batch", "answer a file of requests as OpenAI's batches have them", run_batch_command},
    {"env", "say what this machine has: CPU features, GPUs, memory", env_command},
};

// Commands of vLLM that have no counterpart here yet.
constexpr const char* kForeign[] = {"launch", "train"};

void print_help(std::FILE* to) {
  std::fputs(
      "usage: octavo COMMAND [words]\n\nOne native program that serves language "
      "models.\n\nCommands:\n",
      to);
  for (const Command& command : kCommands)
    std::fprintf(to, "  %-9s %s\n", command.name, command.summary);
  std::fputs(
      "\nOptions:\n  --help     this text; `octavo COMMAND --help` for a command's flags\n"
      "  --version  the version\n\n"
      "`octavo serve` alone serves the bundled model on port 8000.\n",
      to);
}

int run(const Words& args) {
  if (args.empty()) {
    print_help(stderr);
    return kUsage;
  }
  const std::string& name = args[0];
  if (name == "--help" || name == "-h" || name == "help") {
    print_help(stdout);
    return 0;
  }
  if (name == "--version" || name == "-V" || name == "-v") {
    std::puts("octavo " OCTAVO_VERSION);
    return 0;
  }
  Words known;
  for (const Command& command : kCommands) {
    if (name == command.name) return command.run(Words(args.begin() + 1, args.end()));
    known.emplace_back(command.name);
  }
  if (name == "engine-child") return engine_child_command(Words(args.begin() + 1, args.end()));
  if (name == "collect-env") return env_command(Words(args.begin() + 1, args.end()));
  for (const char* foreign : kForeign) {
    if (name == foreign)
      return report(unimplemented("`" + name + "` is not supported by octavo yet"), kUsage);
  }
  const std::string guess = nearest_word(name, known);
  return report(
      invalid_argument("unknown command '" + name + "'" +
                       (guess.empty() ? "; try `octavo --help`" : "; did you mean " + guess + "?")),
      kUsage);
}

}  // namespace
}  // namespace octavo::cli

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a client or a pipe that goes away is an error code, not our end
  return octavo::cli::run(octavo::cli::Words(argv + 1, argv + argc));
}
