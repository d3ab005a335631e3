// FlagSet in three steps: words become settings (a flag and its values), layer by layer, first the
// config file's, then the command line's; every setting is checked and applied; the help is printed
// from the same declarations.
#include "cli/flags.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "base/status_macros.h"
#include "cli/config_file.h"
#include "cli/vllm_flags.h"

namespace octavo::cli {
namespace {

// `-1` and `-0.5` are values; `-tp` and `--x` are flags; `-` alone is a value.
bool looks_like_flag(std::string_view word) {
  return word.size() > 1 && word[0] == '-' && !std::isdigit(static_cast<unsigned char>(word[1])) &&
         word[1] != '.';
}

std::string trimmed(double v) {
  if (std::isinf(v)) return v > 0 ? "inf" : "-inf";
  std::string text = std::to_string(v);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

Status check_range(double value, const Range& range) {
  if (value >= range.low && value <= range.high) return {};
  if (range.high >= 1e18) return invalid_argument("must be at least " + trimmed(range.low));
  return invalid_argument("must be between " + trimmed(range.low) + " and " + trimmed(range.high));
}

// Reads a word, checks it against `range` and T's own, and stores it.
template <typename T>
std::function<Status(const std::string&)> store_whole_number(
    T* target, Range range, StatusOr<int64_t> (*read)(std::string_view)) {
  if constexpr (sizeof(T) == 4) {
    range = {std::max(range.low, -2147483648.0), std::min(range.high, 2147483647.0)};
  }
  return [=](const std::string& word) -> Status {
    ASSIGN_OR_RETURN(const int64_t value, read(word));
    RETURN_IF_ERROR(check_range(static_cast<double>(value), range));
    *target = static_cast<T>(value);
    return {};
  };
}

bool contains_word(std::string_view text, std::string_view word) {
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) ==
           std::tolower(static_cast<unsigned char>(b));
  };
  return std::search(text.begin(), text.end(), word.begin(), word.end(), same) != text.end();
}

// `text` broken into lines of at most `width` characters, all but the first indented.
std::string wrap(std::string_view text, size_t indent, size_t width) {
  std::string out;
  size_t line = 0;
  while (!text.empty()) {
    const size_t space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    text.remove_prefix(space == std::string_view::npos ? text.size() : space + 1);
    if (line > 0 && line + 1 + word.size() > width) {
      out.append("\n").append(indent, ' ');
      line = 0;
    } else if (line > 0) {
      out.push_back(' ');
      ++line;
    }
    out.append(word);
    line += word.size();
  }
  return out;
}

}  // namespace

FlagSet::FlagSet(std::string usage, std::string summary)
    : usage_(std::move(usage)), summary_(std::move(summary)) {}

void FlagSet::add(Flag flag) {
  flag.group = group_;
  flags_.push_back(std::move(flag));
}

void FlagSet::custom(std::string name, std::string placeholder, std::string default_text,
                     std::string help, std::function<Status(const std::string&)> set) {
  add({.name = std::move(name),
       .placeholder = std::move(placeholder),
       .default_text = std::move(default_text),
       .help = std::move(help),
       .set = [set = std::move(set)](const Words& values, bool) { return set(values.back()); }});
}

void FlagSet::text(std::string name, std::string* target, std::string placeholder,
                   std::string help) {
  custom(std::move(name), std::move(placeholder), *target, std::move(help),
         [target](const std::string& v) {
           *target = v;
           return ok_status();
         });
}

void FlagSet::integer(std::string name, int64_t* target, Range range, std::string help) {
  custom(std::move(name), "N", std::to_string(*target), std::move(help),
         store_whole_number(target, range, parse_integer));
}

void FlagSet::integer(std::string name, int* target, Range range, std::string help) {
  custom(std::move(name), "N", std::to_string(*target), std::move(help),
         store_whole_number(target, range, parse_integer));
}

void FlagSet::count(std::string name, int* target, Range range, std::string help) {
  custom(std::move(name), "N", std::to_string(*target), std::move(help),
         store_whole_number(target, range, parse_count));
}

void FlagSet::number(std::string name, double* target, Range range, std::string help) {
  custom(std::move(name), "X", trimmed(*target), std::move(help),
         [target, range](const std::string& v) -> Status {
           ASSIGN_OR_RETURN(const double value, parse_number(v));
           const bool endless = value > 0 && std::isinf(value) && range.high >= 1e18;
           if (!endless) RETURN_IF_ERROR(check_range(value, range));
           *target = value;
           return {};
         });
}

void FlagSet::choice(std::string name, std::string* target,
                     std::vector<std::pair<std::string, std::string>> choices, std::string help) {
  std::string words;
  for (const auto& [word, meaning] : choices) words += (words.empty() ? "" : "|") + word;
  custom(std::move(name), words, *target, std::move(help),
         [target, words, choices = std::move(choices)](const std::string& v) -> Status {
           for (const auto& [word, meaning] : choices) {
             if (word != v) continue;
             *target = meaning;
             return {};
           }
           return invalid_argument("'" + v + "' is none of " + words);
         });
}

void FlagSet::toggle(std::string name, bool* target, std::string help) {
  add({.name = std::move(name),
       .default_text = *target ? "on" : "off",
       .help = std::move(help),
       .negatable = true,
       .set = [target](const Words&, bool negated) {
         *target = !negated;
         return ok_status();
       }});
}

void FlagSet::turn_on(std::string name, bool* target, std::string help) {
  toggle(std::move(name), target, std::move(help));
  flags_.back().negatable = false;
}

void FlagSet::custom_list(std::string name, std::string placeholder, std::string help,
                          std::function<Status(const Words&)> set) {
  add({.name = std::move(name),
       .placeholder = std::move(placeholder),
       .help = std::move(help),
       .many = true,
       .set = [set = std::move(set)](const Words& values, bool) { return set(values); }});
}

void FlagSet::list(std::string name, Words* target, std::string placeholder, std::string help) {
  custom_list(std::move(name), std::move(placeholder), std::move(help),
              [target](const Words& values) {
                *target = values;
                return ok_status();
              });
}

const FlagSet::Flag* FlagSet::find(std::string_view name) const {
  for (const Flag& flag : flags_) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

std::string FlagSet::nearest(std::string_view name) const {
  Words known;
  for (const Flag& flag : flags_) known.push_back(flag.name);
  if (const std::string own = nearest_word(name, known); !own.empty()) return own;
  known.clear();
  for (const VllmFlag& flag : vllm_flags()) known.emplace_back(flag.name);
  return nearest_word(name, known);
}

Status FlagSet::parse_foreign(const std::string& name, const std::string& written,
                              std::optional<std::string> inline_value, const Words& args,
                              size_t& i) {
  if (name.size() == 2 && name[0] == 'O') inline_value = name.substr(1);  // -O3 is -O 3
  const bool negated = name.rfind("no-", 0) == 0;
  const std::string bare = negated ? name.substr(3) : name;
  const VllmFlag* flag = find_vllm_flag(name);
  if (flag == nullptr && negated) flag = find_vllm_flag(bare);
  if (flag == nullptr) {
    const std::string guess = nearest(bare);
    return invalid_argument("unknown flag " + written +
                            (guess.empty() ? "" : "; did you mean --" + guess + "?"));
  }
  std::string value = inline_value.value_or("on");
  if (flag->arity != Arity::kSwitch && !inline_value && !negated) {
    if (i + 1 == args.size() || looks_like_flag(args[i + 1])) {
      return invalid_argument(written + " needs a value");
    }
    value = args[++i];
    while (flag->arity == Arity::kMany && i + 1 < args.size() && !looks_like_flag(args[i + 1])) {
      value += " " + args[++i];
    }
  }
  const std::string shown = written + (flag->arity == Arity::kSwitch ? "" : " " + value);
  if (!(negated && flag->name == bare) && !is_harmless(*flag, value)) {
    const bool by_value = !flag->harmless.empty() && flag->arity != Arity::kSwitch;
    return unimplemented((by_value ? shown : written) +
                         " is known to vLLM but not supported by octavo yet");
  }
  notices_.push_back(shown + " changes nothing in octavo");
  return {};
}

Status FlagSet::parse_flag(const Words& args, size_t& i, Settings& settings) {
  const std::string& word = args[i];
  const size_t equals = word.find('=');
  const std::string written = word.substr(0, equals);
  std::optional<std::string> inline_value;
  if (equals != std::string::npos) inline_value = word.substr(equals + 1);
  std::string name = written.substr(written[1] == '-' ? 2 : 1);
  std::replace(name.begin(), name.end(), '_', '-');

  if (name == "help" || name == "h") {
    help_asked_ = inline_value.value_or("");
    return {};
  }
  const Flag* flag = written[1] == '-' ? find(name) : nullptr;
  bool negated = false;
  if (flag == nullptr && name.rfind("no-", 0) == 0) {
    flag = find(name.substr(3));
    negated = flag != nullptr && !flag->takes_value();
    if (!negated) flag = nullptr;
  }
  if (flag == nullptr && name == "model" && positional_ != nullptr) {
    if (!inline_value && i + 1 < args.size()) inline_value = args[++i];
    if (!inline_value) return invalid_argument("--model needs a value");
    positional_value_ = inline_value;
    return {};
  }
  if (flag == nullptr) return parse_foreign(name, written, inline_value, args, i);

  Setting setting{flag, {}, negated};
  if (!flag->takes_value()) {
    if (inline_value) {
      const std::string off = flag->negatable ? "; --no-" + flag->name + " turns it off" : "";
      return invalid_argument(written + " takes no value" + off);
    }
  } else if (inline_value) {
    setting.values.push_back(*inline_value);
  } else {
    while (i + 1 < args.size() && !looks_like_flag(args[i + 1])) {
      setting.values.push_back(args[++i]);
      if (!flag->many) break;
    }
    if (setting.values.empty())
      return invalid_argument(written + " needs a value: " + flag->placeholder);
  }
  const auto earlier = settings.find(flag->name);
  if (flag->many && earlier != settings.end()) {
    setting.values.insert(setting.values.begin(), earlier->second.values.begin(),
                          earlier->second.values.end());
  }
  settings[flag->name] = std::move(setting);
  return {};
}

Status FlagSet::parse_layer(const Words& args, Settings& settings, std::string* config_file) {
  bool positional_seen = false;
  for (size_t i = 0; i < args.size() && !help_asked_; ++i) {
    const std::string& word = args[i];
    if (looks_like_flag(word)) {
      if (config_ && config_file != nullptr &&
          (word == "--config" || word.rfind("--config=", 0) == 0)) {
        if (word.size() == 8 && i + 1 == args.size())
          return invalid_argument("--config needs a value: FILE");
        *config_file = word.size() == 8 ? args[++i] : word.substr(9);
        continue;
      }
      RETURN_IF_ERROR(parse_flag(args, i, settings));
    } else if (positional_ != nullptr && !positional_seen) {
      positional_value_ = word;
      positional_seen = true;
    } else {
      return invalid_argument("unexpected argument '" + word + "'");
    }
  }
  return {};
}

Status FlagSet::parse(const Words& args) {
  Settings from_line;
  std::string config_file;
  RETURN_IF_ERROR(parse_layer(args, from_line, &config_file));
  if (help_asked_) return {};

  Settings settings;
  if (!config_file.empty()) {
    const auto positional_of_line = positional_value_;
    ASSIGN_OR_RETURN(const Words words, read_config_file(config_file));
    Status status = parse_layer(words, settings, nullptr);
    if (!status.ok()) return status.with_context(config_file);
    if (positional_of_line) positional_value_ = positional_of_line;
  }
  for (auto& [name, setting] : from_line) settings[name] = std::move(setting);

  for (const auto& [name, setting] : settings) {
    const Status status = setting.flag->set(setting.values, setting.negated);
    if (!status.ok()) return status.with_context("--" + name);
    given_[name] = true;
  }
  if (positional_value_) *positional_ = *positional_value_;
  return {};
}

std::string FlagSet::help(std::string_view word) const {
  constexpr size_t kColumn = 38;
  constexpr size_t kWidth = 74;
  std::string out;
  if (word.empty()) out = "usage: " + usage_ + "\n\n" + summary_ + "\n";
  std::string last_group;
  for (const Flag& flag : flags_) {
    if (!word.empty() && !contains_word(flag.name, word) && !contains_word(flag.group, word) &&
        !contains_word(flag.help, word)) {
      continue;
    }
    if (flag.group != last_group) out += (out.empty() ? "" : "\n") + flag.group + ":\n";
    last_group = flag.group;
    std::string left = "  --" + std::string(flag.negatable ? "[no-]" : "") + flag.name;
    if (flag.takes_value()) left += " " + flag.placeholder + (flag.many ? "..." : "");
    const bool shows_default = !flag.default_text.empty() && (flag.takes_value() || flag.negatable);
    const std::string right = flag.help + (shows_default ? " [" + flag.default_text + "]" : "");
    if (left.size() + 2 > kColumn) {
      left.append("\n").append(kColumn, ' ');
    } else {
      left.append(kColumn - left.size(), ' ');
    }
    out += left + wrap(right, kColumn, kWidth - kColumn + 24) + "\n";
  }
  if (out.empty()) out = "no flag's name, group or description holds '" + std::string(word) + "'\n";
  return out;
}

}  // namespace octavo::cli
