#include "cli/chat/answerer.h"

#include "base/clock.h"

namespace octavo::cli {

AnswerBuilder::AnswerBuilder(const OnPiece& on_piece)
    : on_piece_(on_piece), begin_(steady_seconds()) {}

void AnswerBuilder::add(std::string_view text, bool reasoning) {
  if (text.empty()) return;
  answer_.seconds = steady_seconds() - begin_;
  if (answer_.first_seconds == 0) answer_.first_seconds = answer_.seconds;
  (reasoning ? answer_.reasoning : answer_.content) += text;
  on_piece_(text, reasoning);
}

}  // namespace octavo::cli
