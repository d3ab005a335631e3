// FlagSet: the flags of one command, declared once and used three times: to read a command line, to
// read a YAML file (`--config`), and to print the help. Main thread, before anything else starts.
//
// It speaks argparse's dialect, because people paste vLLM command lines: `--max-num-seqs 4`,
// `--max_num_seqs=4`, `--enable-x` / `--no-enable-x`, `--names a b c`, and the last one given wins.
// A flag that is not ours is looked up among vLLM's (vllm_flags.h): harmless ones are taken with a
// notice, the others are refused by name. No exit() in here: every mistake is a Status, with
// kInvalidArgument or kUnimplemented.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "octavo/status.h"

namespace octavo::cli {

using Words = std::vector<std::string>;

struct Range {
  double low = -1e18;
  double high = 1e18;
};

class FlagSet {
 public:
  // `usage` is the first line of the help: "octavo serve [MODEL] [flags]".
  FlagSet(std::string usage, std::string summary);

  // Flags declared from here on stand under `title` in the help.
  void group(std::string title) { group_ = std::move(title); }
  // The defaults that the help shows are the targets' values at the time of declaration.
  void text(std::string name, std::string* target, std::string placeholder, std::string help);
  void integer(std::string name, int* target, Range range, std::string help);
  void integer(std::string name, int64_t* target, Range range, std::string help);
  void number(std::string name, double* target, Range range, std::string help);
  // A count with an optional suffix: k m g t are powers of 1000, K M G T of 1024.
  void count(std::string name, int* target, Range range, std::string help);
  // One of `choices`, some of which may be other names of one value: {"half", "float16"}.
  void choice(std::string name, std::string* target,
              std::vector<std::pair<std::string, std::string>> choices, std::string help);
  void toggle(std::string name, bool* target, std::string help);   // --name and --no-name
  void turn_on(std::string name, bool* target, std::string help);  // --name alone
  void list(std::string name, Words* target, std::string placeholder, std::string help);
  void custom(std::string name, std::string placeholder, std::string default_text, std::string help,
              std::function<Status(const std::string&)> set);
  void custom_list(std::string name, std::string placeholder, std::string help,
                   std::function<Status(const Words&)> set);
  void positional(std::string* target) { positional_ = target; }
  // Lets `--config FILE` stand for the flags that the file holds; the command line wins over it.
  void accept_config_file() { config_ = true; }

  // Reads the words after the command's name. Nothing is set unless every word names a flag or a
  // value of one.
  Status parse(const Words& args);

  bool given(std::string_view name) const { return given_.count(std::string(name)) > 0; }
  // Set when --help, -h or --help=WORD was among the words; parse() then returns ok without setting
  // anything.
  const std::optional<std::string>& help_asked() const { return help_asked_; }
  // All of the help, or the flags whose group, name or description holds `word`.
  std::string help(std::string_view word = {}) const;
  // One line for each of vLLM's flags that was taken and changes nothing.
  const Words& notices() const { return notices_; }

 private:
  struct Flag {
    std::string name, placeholder, default_text, help, group;
    bool many = false;  // takes every word up to the next flag, and may be repeated
    bool negatable = false;
    std::function<Status(const Words& values, bool negated)> set;
    bool takes_value() const { return !placeholder.empty(); }
  };
  struct Setting {
    const Flag* flag;
    Words values;
    bool negated = false;
  };
  using Settings = std::map<std::string, Setting>;

  void add(Flag flag);
  const Flag* find(std::string_view name) const;
  Status parse_layer(const Words& args, Settings& settings, std::string* config_file);
  Status parse_flag(const Words& args, size_t& i, Settings& settings);
  Status parse_foreign(const std::string& name, const std::string& written,
                       std::optional<std::string> inline_value, const Words& args, size_t& i);
  std::string nearest(std::string_view name) const;

  std::string usage_, summary_, group_;
  std::vector<Flag> flags_;
  std::string* positional_ = nullptr;
  std::optional<std::string> positional_value_;
  bool config_ = false;
  std::map<std::string, bool> given_;
  std::optional<std::string> help_asked_;
  Words notices_;
};

// "1k" is 1000, "1K" 1024, "2.5m" 2500000; fractions only with the decimal suffixes, as in vLLM.
StatusOr<int64_t> parse_count(std::string_view text);
StatusOr<int64_t> parse_integer(std::string_view text);
StatusOr<double> parse_number(std::string_view text);

// Number of single-character edits between two words.
size_t edit_distance(std::string_view a, std::string_view b);
// The entry of `known` nearest to `word`, or empty if none is near enough to be meant.
std::string nearest_word(std::string_view word, const Words& known);

}  // namespace octavo::cli
