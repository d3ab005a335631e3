// Conversation: the messages of one chat, as the OpenAI API has them, with at most one system
// message, the first. A plain value; one thread.
#pragma once

#include <string>

#include "octavo/status.h"
#include "octavo/value.h"

namespace octavo::cli {

class Conversation {
 public:
  const Value::List& messages() const { return messages_; }
  std::string system() const;
  void set_system(const std::string& text);  // empty: none
  void add_question(const std::string& text);
  void add_answer(const std::string& content, const std::string& reasoning);
  // Takes back the last message if it is of that role; whether it was.
  bool drop_last(std::string_view role);
  void clear();  // all but the system message

  // A file {"messages": […]}, which the API takes too. Errors name the file.
  Status save(const std::string& path) const;
  // Such a file, or a list of messages alone. Replaces everything, or nothing on an error.
  Status load(const std::string& path);

 private:
  Value::List messages_;
};

}  // namespace octavo::cli
