// AnswerView: writes what a model says where a user reads it. On a terminal thinking is dim, and
// nothing that a model writes can move the cursor or change anything but text. Main thread.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include "cli/chat/answerer.h"

namespace octavo::cli {

// `text` without control characters other than line breaks and tabs.
std::string harmless(std::string_view text);
// "[37 tokens, 812 tok/s, first after 12 ms]", and why it ended early.
std::string summary_of(const Answer& answer);

class AnswerView {
 public:
  // Not a terminal: answers alone, as they are; no thinking, no figures.
  AnswerView(std::FILE* out, bool terminal);

  void show(std::string_view text, bool reasoning);
  // Ends the answer's line; the figures of the answer where there is a terminal.
  void finish(const Answer& answer);
  // An answer that failed: what was shown of it ends its line.
  void abandon();
  void end_line();

 private:
  void dim(bool on);

  std::FILE* out_;
  bool terminal_, colour_;
  bool dim_ = false;
  bool began_ = false;         // some of the content was shown
  bool line_is_open_ = false;  // the last thing written was no line break
};

}  // namespace octavo::cli
