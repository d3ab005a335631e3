// Answerer: who answers in `octavo chat` and `octavo complete`: a model in this process, or a
// server of OpenAI's API. Main thread; an answer blocks until it is whole or stopped.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "cli/chat/answer_settings.h"
#include "octavo/status.h"
#include "octavo/value.h"

namespace octavo::cli {

struct Question {
  Value::List messages;               // a chat, or
  std::optional<std::string> prompt;  // a text to go on with, as it stands
  AnswerSettings settings;
  Value json_schema;  // what the answer must match; null: anything
};

struct Answer {
  std::string content, reasoning;
  std::string finish_reason;  // "stop", "length", …; empty when it was stopped
  bool stopped = false;       // by the user
  int tokens = 0;             // as the server counts them, or its events where it does not
  double first_seconds = 0;   // from the question to the first text
  double seconds = 0;         // to the last
};

// The next piece of an answer, never empty.
using OnPiece = std::function<void(std::string_view text, bool reasoning)>;

class Answerer {
 public:
  virtual ~Answerer() = default;
  virtual const std::string& model() const = 0;
  // Once `stop_fd` is readable (-1: never) the answer ends as it is. On an error some pieces may
  // have come.
  virtual StatusOr<Answer> answer(const Question& question, int stop_fd,
                                  const OnPiece& on_piece) = 0;
};

// Keeps the pieces of an answer, and the time of the first and the last.
class AnswerBuilder {
 public:
  explicit AnswerBuilder(const OnPiece& on_piece);
  void add(std::string_view text, bool reasoning);
  Answer& answer() { return answer_; }

 private:
  const OnPiece& on_piece_;
  const double begin_;
  Answer answer_;
};

}  // namespace octavo::cli
