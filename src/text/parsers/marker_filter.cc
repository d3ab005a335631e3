#include "text/parsers/marker_filter.h"

#include <utility>

namespace octavo::text {

std::string MarkerFilter::feed(std::string_view piece) {
  std::string out;
  for (const char c : piece) {
    held_ += c;
    bool possible = false;
    while (!held_.empty() && !possible) {
      bool whole = false;
      for (const std::string& marker : markers_) {
        whole = whole || held_ == marker;
        possible = possible || marker.starts_with(held_);
      }
      if (whole) {
        held_.clear();
      } else if (!possible) {
        out += held_[0];
        held_.erase(0, 1);
      }
    }
  }
  return out;
}

std::string MarkerFilter::flush() {
  return std::exchange(held_, {});
}

}  // namespace octavo::text
