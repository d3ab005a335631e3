// AnswerSettings: what a user sets about answers, by the API's names: temperature, top_p and so on.
// What is not set is the model's or the server's business. A plain value.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "octavo/sampling_params.h"
#include "octavo/status.h"
#include "octavo/value.h"

namespace octavo::cli {

class AnswerSettings {
 public:
  struct Setting {
    std::string_view name;
    std::string_view help;
    enum Kind { kNumber, kInteger, kText } kind;
    double low = -1e18, high = 1e18;
  };
  // All there are, in the order to show them.
  static const std::vector<Setting>& known();

  // Sets `name` ("top_p" or "top-p") from what was typed; "default" or nothing unsets it. Errors
  // name the setting and its range.
  Status set(std::string_view name, std::string_view text);
  // The fields of a request, those that are set.
  const Value::Dict& fields() const { return fields_; }
  void apply(SamplingParams& params) const;

 private:
  Value::Dict fields_;
};

}  // namespace octavo::cli
