// octavo run-batch: a file of OpenAI's batch requests → engine → a file of answers, in order.
#include <filesystem>
#include <fstream>
#include <iostream>

#include "base/log.h"
#include "base/status_macros.h"
#include "cli/commands/commands.h"
#include "cli/options.h"
#include "octavo/engine_client.h"
#include "serve/batch.h"

namespace octavo::cli {
namespace {

namespace fs = std::filesystem;

// Main thread.
class BatchFiles {
 public:
  Status open(const std::string& input, const std::string& output) {
    std::error_code ignored;
    input_name_ = input;
    output_name_ = output;
    if (input != "-") {
      in_file_.open(input, std::ios::binary);
      if (!in_file_ || fs::is_directory(input, ignored)) return not_found("cannot read " + input);
      // Opening the output would empty the input.
      if (output != "-" && fs::equivalent(input, output, ignored)) {
        return invalid_argument("--input-file and --output-file are the same file");
      }
    }
    if (output == "-") return {};
    out_file_.open(output, std::ios::binary);
    return out_file_ ? Status() : unavailable("cannot write " + output);
  }

  bool read(std::string& line) { return static_cast<bool>(std::getline(in(), line)); }
  // Each line is flushed: whoever watches the file, or stops the program, has what is done.
  Status write(std::string_view line) {
    out() << line << '\n' << std::flush;
    return out() ? Status() : unavailable("cannot write " + output_name_);
  }
  Status check_input() {
    return in().bad() ? unavailable("reading " + input_name_ + " failed") : Status();
  }

 private:
  std::istream& in() { return input_name_ == "-" ? std::cin : in_file_; }
  std::ostream& out() { return output_name_ == "-" ? std::cout : out_file_; }

  std::string input_name_, output_name_;
  std::ifstream in_file_;
  std::ofstream out_file_;
};

// How many lines there are to answer; 0: unknown.
size_t count_lines(const std::string& path) {
  if (path == "-") return 0;
  std::ifstream file(path, std::ios::binary);
  size_t count = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) ++count;
  }
  return count;
}

// -i and -o, as vLLM has them.
Words with_long_names(Words args) {
  for (std::string& word : args) {
    if (word == "-i") word = "--input-file";
    if (word == "-o") word = "--output-file";
  }
  return args;
}

int run(ServeOptions& options, const RunBatchOptions& batch) {
  BatchFiles files;
  if (const Status status = files.open(batch.input_file, batch.output_file); !status.ok())
    return report(status);
  auto name = resolve_engine_paths(options.engine, options.source);
  if (!name.ok()) return report(name.status());
  if (options.server.served_model_names.empty()) options.server.served_model_names = {*name};
  options.engine.model.served_name = options.server.served_model_names.front();
  auto engine =
      make_engine(options.engine, [](const std::string& line) { log_info("engine", line); });
  if (!engine.ok()) return report(engine.status());

  Progress progress("requests", count_lines(batch.input_file));
  const auto result =
      serve::run_batch(**engine, options.server,
                       {.max_in_flight = static_cast<size_t>(batch.max_concurrency),
                        .read = [&](std::string& line) { return files.read(line); },
                        .write = [&](std::string_view line) { return files.write(line); },
                        .on_progress = [&](size_t done) { progress.show(done); }});
  (*engine)->shutdown(0);
  progress.clear();
  if (!result.ok()) return report(result.status());
  if (const Status status = files.check_input(); !status.ok()) return report(status);
  std::fprintf(stderr, "%zu requests, %zu failed\n", result->lines, result->failed);
  return result->failed == 0 ? 0 : kFailed;
}

}  // namespace

int run_batch_command(const Words& args) {
  ServeOptions options;
  RunBatchOptions batch;
  FlagSet flags = make_run_batch_flags(options, batch);
  if (const auto code = parse_or_exit(flags, with_long_names(args), "run-batch")) return *code;
  for (const char* name : {"input-file", "output-file"}) {
    if (!flags.given(name)) {
      return report(invalid_argument("--" + std::string(name) + " is needed"), kUsage);
    }
  }
  if (const Status status = apply_log_level(options.source.log_level); !status.ok())
    return report(status, kUsage);
  log_notices(flags);
  return run(options, batch);
}

}  // namespace octavo::cli
