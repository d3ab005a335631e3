#include "cli/chat/answer_settings.h"

#include <algorithm>
#include <cstdio>

#include "base/status_macros.h"
#include "cli/flags.h"

namespace octavo::cli {
namespace {

using Setting = AnswerSettings::Setting;

std::string shown(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", number);
  return text;
}

StatusOr<Value> parse(const Setting& setting, std::string_view text) {
  if (setting.kind == Setting::kText) return Value(text);
  Value value;
  if (setting.kind == Setting::kInteger) {
    ASSIGN_OR_RETURN(value, parse_integer(text));
  } else {
    ASSIGN_OR_RETURN(value, parse_number(text));
  }
  if (value.as_double() < setting.low || value.as_double() > setting.high) {
    return invalid_argument("must be between " + shown(setting.low) + " and " +
                            shown(setting.high));
  }
  return value;
}

}  // namespace

const std::vector<Setting>& AnswerSettings::known() {
  static const std::vector<Setting> settings = {
      {"temperature", "0: always the likeliest token", Setting::kNumber, 0, 2},
      {"top_p", "draw from the likeliest tokens that make up this share", Setting::kNumber, 1e-6,
       1},
      {"top_k", "draw from so many of the likeliest tokens; 0: all", Setting::kInteger, -1,
       1 << 30},
      {"min_p", "least probability, as a share of the likeliest token's", Setting::kNumber, 0, 1},
      {"max_tokens", "longest answer; default: what the model or the server allows",
       Setting::kInteger, 1, 1 << 30},
      {"seed", "the same seed draws the same answer", Setting::kInteger},
      {"presence_penalty", "against tokens that were used", Setting::kNumber, -2, 2},
      {"frequency_penalty", "against tokens that were used, for each use", Setting::kNumber, -2, 2},
      {"repetition_penalty", "above 1: against repeating prompt and answer", Setting::kNumber, 1e-6,
       1e6},
      {"stop", "the answer ends before this text", Setting::kText},
  };
  return settings;
}

Status AnswerSettings::set(std::string_view name, std::string_view text) {
  std::string wanted(name);
  std::replace(wanted.begin(), wanted.end(), '-', '_');
  const auto setting = std::find_if(known().begin(), known().end(),
                                    [&](const Setting& s) { return s.name == wanted; });
  if (setting == known().end()) {
    Words names;
    for (const Setting& s : known()) names.emplace_back(s.name);
    const std::string guess = nearest_word(wanted, names);
    return invalid_argument("there is no setting '" + wanted + "'" +
                            (guess.empty() ? "" : "; did you mean " + guess + "?"));
  }
  Value value;
  if (!text.empty() && text != "default") {
    StatusOr<Value> parsed = parse(*setting, text);
    if (!parsed.ok()) return parsed.status().with_context(wanted);
    value = *parsed;
  }
  std::erase_if(fields_, [&](const auto& field) { return field.first == wanted; });
  if (!value.is_null()) fields_.emplace_back(wanted, std::move(value));
  return {};
}

void AnswerSettings::apply(SamplingParams& params) const {
  for (const auto& [name, value] : fields_) {
    const auto number = [&v = value] { return static_cast<float>(v.as_double()); };
    if (name == "temperature") params.temperature = number();
    if (name == "top_p") params.top_p = number();
    if (name == "top_k") params.top_k = static_cast<int>(value.as_int());
    if (name == "min_p") params.min_p = number();
    if (name == "max_tokens") params.max_tokens = static_cast<int>(value.as_int());
    if (name == "seed") params.seed = value.as_int();
    if (name == "presence_penalty") params.presence_penalty = number();
    if (name == "frequency_penalty") params.frequency_penalty = number();
    if (name == "repetition_penalty") params.repetition_penalty = number();
    if (name == "stop") params.stop = {value.as_string()};
  }
}

}  // namespace octavo::cli
