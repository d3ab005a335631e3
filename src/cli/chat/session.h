// ChatSession: a conversation with somebody who types: messages, and commands that begin with a
// slash. The same for a terminal and for a pipe. Main thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/chat/answer_view.h"
#include "cli/chat/answerer.h"
#include "cli/chat/conversation.h"
#include "cli/terminal/terminal.h"

namespace octavo::cli {

class ChatSession {
 public:
  // `interrupt`: Ctrl-C stops an answer, also one that has yet to begin; null: it ends the program.
  ChatSession(Answerer& answerer, AnswerView view, bool terminal, Interrupt* interrupt)
      : answerer_(answerer), view_(view), terminal_(terminal), interrupt_(interrupt) {}

  Conversation& conversation() { return conversation_; }
  AnswerSettings& settings() { return settings_; }

  // One message or command. False: the user wants to leave.
  bool handle(const std::string& typed);
  // Whether an answer or a command has failed so far.
  bool failed() const { return failed_; }

 private:
  struct Command {
    std::string_view name, argument, help;
    Status (ChatSession::*run)(const std::string& argument);
  };
  static const std::vector<Command>& commands();

  Status run_command(const std::string& name, const std::string& argument);
  // Has the conversation answered. kCancelled: the user stopped it before any answer came.
  Status ask();
  Status help(const std::string& argument);
  Status system(const std::string& argument);
  Status params(const std::string& argument);
  Status save(const std::string& argument);
  Status load(const std::string& argument);
  Status clear(const std::string& argument);
  Status regen(const std::string& argument);
  Status leave(const std::string& argument);
  // A line for the user, on a terminal alone.
  void say(const std::string& line) const;

  Answerer& answerer_;
  AnswerView view_;
  bool terminal_;
  Interrupt* interrupt_;
  Conversation conversation_;
  AnswerSettings settings_;
  bool failed_ = false;
  bool leaving_ = false;
};

}  // namespace octavo::cli
