// MarkerFilter: leaves the model's special tokens out of text that users see. The parsers need them
// shown; what a parser gives back as text may hold them. One thread, one for each text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace octavo::text {

class MarkerFilter {
 public:
  explicit MarkerFilter(std::vector<std::string> markers) : markers_(std::move(markers)) {}
  // The text without markers, as far as it is certain.
  std::string feed(std::string_view piece);
  // What may still have become a marker. May be followed by more text.
  std::string flush();

 private:
  std::vector<std::string> markers_;
  std::string held_;
};

}  // namespace octavo::text
