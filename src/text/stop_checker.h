// StopChecker: finds stop strings in text that arrives in parts, and holds back no more of it than
// could still become part of one. The output processor keeps one for each answer that has stop
// strings. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace octavo::text {

class StopChecker {
 public:
  struct Result {
    std::string text;     // may be sent now
    int stop_index = -1;  // which stop string was found, as given; -1: none
    bool stopped() const { return stop_index >= 0; }
  };

  // Empty stop strings stop nothing. With `include_stop_str_in_output` a stop string that is found
  // is sent too.
  StopChecker(std::vector<std::string> stop, bool include_stop_str_in_output);

  // The match that ends first counts, of those the one that begins first. After a match there is no
  // more text.
  Result append(std::string_view new_text);
  // The same for text within which no stop string counts yet; one that begins in it and ends in
  // what is appended later does. Returns what may be sent now.
  std::string pass(std::string_view new_text);
  // What was held back, at the end of an answer that no stop string ended.
  std::string flush();

 private:
  // A state is a prefix of some stop string, namely the longest that the text so far ends with.
  struct Node {
    std::vector<std::pair<uint8_t, int32_t>> next;  // by the byte that follows
    int32_t fail = 0;   // the longest proper suffix that is a prefix too
    int32_t depth = 0;  // bytes of the prefix
    int32_t stop = -1;  // the longest stop string that ends here
  };
  int32_t child(int32_t node, uint8_t byte) const;
  int32_t follow(int32_t node, uint8_t byte) const;
  void add_stop(std::string_view stop, int32_t index);
  void link_failures();
  std::string take_certain();

  std::vector<int32_t> lengths_;  // of the stop strings
  std::vector<Node> nodes_;
  bool include_;
  bool stopped_ = false;
  int32_t state_ = 0;
  std::string held_;
};

}  // namespace octavo::text
