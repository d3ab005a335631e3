#include "cli/chat/session.h"

#include <unistd.h>

#include <optional>

#include "base/status_macros.h"
#include "cli/chat/input.h"
#include "cli/flags.h"

namespace octavo::cli {

const std::vector<ChatSession::Command>& ChatSession::commands() {
  static const std::vector<Command> commands = {
      {"help", "", "this list", &ChatSession::help},
      {"system", "[TEXT]", "show or set the system message; /system none takes it away",
       &ChatSession::system},
      {"params", "[NAME VALUE]", "show or set how answers are drawn; VALUE default unsets it",
       &ChatSession::params},
      {"regen", "", "answer the last message again", &ChatSession::regen},
      {"clear", "", "forget the conversation; the system message and the settings stay",
       &ChatSession::clear},
      {"save", "FILE", "write the conversation as JSON", &ChatSession::save},
      {"load", "FILE", "go on with a saved conversation", &ChatSession::load},
      {"exit", "", "leave; so do Ctrl-D, and Ctrl-C twice", &ChatSession::leave},
      {"quit", "", "the same", &ChatSession::leave},
  };
  return commands;
}

void ChatSession::say(const std::string& line) const {
  if (terminal_) std::printf("%s\n", harmless(line).c_str());
}

bool ChatSession::handle(const std::string& typed) {
  const TypedCommand command = parse_command(typed);
  Status status;
  if (!command.name.empty()) {
    status = run_command(command.name, command.argument);
  } else if (const std::string message = without_quotes(typed);
             message.find_first_not_of(" \t\r\n") != std::string::npos) {
    conversation_.add_question(message);
    status = ask();
    // The message is in the history, and not in the way of the next one.
    if (!status.ok()) conversation_.drop_last("user");
  }
  if (!status.ok() && status.code() != StatusCode::kCancelled) {
    failed_ = true;
    std::fprintf(stderr, "octavo: %s\n", harmless(status.message()).c_str());
  }
  return !leaving_;
}

Status ChatSession::run_command(const std::string& name, const std::string& argument) {
  Words names;
  for (const Command& command : commands()) {
    if (command.name == name) {
      if (command.argument.empty() && !argument.empty())
        return invalid_argument("/" + name + " takes nothing behind it");
      return (this->*command.run)(argument);
    }
    names.emplace_back(command.name);
  }
  const std::string guess = nearest_word(name, names);
  return invalid_argument("there is no command /" + name +
                          (guess.empty() ? "" : "; did you mean /" + guess + "?") +
                          " (/help lists them; a message may begin with a blank and a slash)");
}

Status ChatSession::ask() {
  const Question question{.messages = conversation_.messages(), .settings = settings_};
  std::optional<TerminalMode> mode;
  if (terminal_) mode.emplace(STDIN_FILENO, TerminalMode::kWatching);
  StatusOr<Answer> answer =
      answerer_.answer(question, interrupt_ == nullptr ? -1 : interrupt_->fd(),
                       [this](std::string_view text, bool r) { view_.show(text, r); });
  if (interrupt_ != nullptr) interrupt_->clear();
  if (!answer.ok()) {
    view_.abandon();
    return answer.status();
  }
  view_.finish(*answer);
  if (answer->stopped && answer->content.empty()) return cancelled("stopped before it began");
  conversation_.add_answer(answer->content, answer->reasoning);
  return {};
}

Status ChatSession::help(const std::string&) {
  for (const Command& command : commands()) {
    const std::string left = "/" + std::string(command.name) + " " + std::string(command.argument);
    std::printf("  %-22s %s\n", left.c_str(), std::string(command.help).c_str());
  }
  std::puts(
      "\nA message goes on in the next line after a backslash, after Alt-Enter, and between two\n"
      "lines of \"\"\". Ctrl-C stops an answer.");
  return {};
}

Status ChatSession::system(const std::string& argument) {
  if (argument.empty()) {
    const std::string text = conversation_.system();
    std::printf("%s\n", text.empty() ? "no system message" : harmless(text).c_str());
    return {};
  }
  conversation_.set_system(argument == "none" ? "" : argument);
  say(argument == "none" ? "The system message is gone." : "The system message is set.");
  return {};
}

Status ChatSession::params(const std::string& argument) {
  const size_t end = argument.find_first_of(" =");
  if (!argument.empty()) {
    if (end == std::string::npos)
      return invalid_argument("/params NAME VALUE sets a value, /params alone shows them");
    const size_t value = argument.find_first_not_of(" =", end);
    return settings_.set(argument.substr(0, end),
                         value == std::string::npos ? "" : argument.substr(value));
  }
  for (const AnswerSettings::Setting& setting : AnswerSettings::known()) {
    std::string value = "default";
    for (const auto& [name, set] : settings_.fields()) {
      if (name == setting.name) value = set.is_string() ? set.as_string() : to_json(set);
    }
    std::printf("  %-19s %-10s %s\n", std::string(setting.name).c_str(), harmless(value).c_str(),
                std::string(setting.help).c_str());
  }
  return {};
}

Status ChatSession::save(const std::string& argument) {
  if (argument.empty()) return invalid_argument("/save needs the name of a file");
  RETURN_IF_ERROR(conversation_.save(argument));
  say("Saved " + std::to_string(conversation_.messages().size()) + " messages.");
  return {};
}

Status ChatSession::load(const std::string& argument) {
  if (argument.empty()) return invalid_argument("/load needs the name of a file");
  RETURN_IF_ERROR(conversation_.load(argument));
  say("Loaded " + std::to_string(conversation_.messages().size()) + " messages.");
  return {};
}

Status ChatSession::clear(const std::string&) {
  conversation_.clear();
  say("The conversation is empty.");
  return {};
}

Status ChatSession::regen(const std::string&) {
  const Conversation before = conversation_;
  conversation_.drop_last("assistant");
  const Value::List& messages = conversation_.messages();
  const Value* role = messages.empty() ? nullptr : messages.back().find("role");
  if (role == nullptr || !role->is_string() || role->as_string() != "user") {
    conversation_ = before;
    return invalid_argument("there is no message to answer again");
  }
  const Status status = ask();
  if (!status.ok()) conversation_ = before;
  return status;
}

Status ChatSession::leave(const std::string&) {
  leaving_ = true;
  return {};
}

}  // namespace octavo::cli
