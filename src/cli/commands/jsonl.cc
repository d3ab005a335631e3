#include "cli/commands/jsonl.h"

#include <filesystem>
#include <fstream>
#include <iostream>

#include "base/status_macros.h"

namespace octavo::cli {
namespace {

namespace fs = std::filesystem;

std::string place(const std::string& name, size_t line) {
  return (name == "-" ? "standard input" : name) + ", line " + std::to_string(line);
}

// Opening the output would empty the input.
bool is_one_file(const JsonlFiles& files) {
  std::error_code ignored;
  return fs::is_regular_file(files.input, ignored) &&
         fs::equivalent(files.input, files.output, ignored);
}

Status cannot_write(const std::string& name) {
  return unavailable("cannot write " + (name == "-" ? "standard output" : name));
}

}  // namespace

void JsonlFiles::declare(FlagSet& flags) {
  flags.text("input", &input, "FILE", "One JSON object a line; - is standard input.");
  flags.text("output", &output, "FILE",
             "Where the results go, a line for each line of the input; - is standard output.");
}

Status require_flags(const FlagSet& flags, const Words& names) {
  for (const std::string& name : names) {
    if (!flags.given(name)) return invalid_argument("--" + name + " is needed");
  }
  return {};
}

Status convert_jsonl(const JsonlFiles& files,
                     const std::function<StatusOr<std::string>(const Value& object)>& convert) {
  std::ios::sync_with_stdio(false);
  std::ifstream input_file;
  if (files.input != "-") {
    input_file.open(files.input, std::ios::binary);
    std::error_code ignored;
    if (!input_file || fs::is_directory(files.input, ignored))
      return not_found("cannot read " + files.input);
  }
  if (is_one_file(files)) return invalid_argument("--input and --output are the same file");
  std::ofstream output_file;
  if (files.output != "-") output_file.open(files.output, std::ios::binary);
  std::istream& input = files.input == "-" ? std::cin : input_file;
  std::ostream& output = files.output == "-" ? std::cout : output_file;
  if (!output) return cannot_write(files.output);

  size_t number = 0;
  for (std::string line; std::getline(input, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const StatusOr<Value> object = parse_json(line);
    if (!object.ok()) return object.status().with_context(place(files.input, number));
    if (!object->is_dict()) {
      return invalid_argument("expected an object, not " + std::string(object->type_name()))
          .with_context(place(files.input, number));
    }
    const StatusOr<std::string> converted = convert(*object);
    if (!converted.ok()) return converted.status().with_context(place(files.input, number));
    output << *converted << '\n';
    if (!output) return cannot_write(files.output);
  }
  if (input.bad()) return unavailable("reading failed after " + place(files.input, number));
  output.flush();
  if (!output) return cannot_write(files.output);
  return {};
}

}  // namespace octavo::cli
