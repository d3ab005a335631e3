// octavo chat: a conversation at a terminal, or line by line through a pipe.
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <string>

#include "base/utf8.h"
#include "cli/chat/input.h"
#include "cli/chat/session.h"
#include "cli/commands/answer_flags.h"
#include "cli/commands/commands.h"
#include "cli/terminal/history.h"
#include "cli/terminal/line_editor.h"

namespace octavo::cli {
namespace {

constexpr std::string_view kPrompt = ">>> ", kContinuation = "... ";

void run_at_terminal(ChatSession& session) {
  History history(state_file("chat_history"));
  LineEditor editor(STDIN_FILENO, STDOUT_FILENO, history, enter_means);
  bool interrupted = false;  // Ctrl-C was the last thing typed, at an empty prompt
  for (;;) {
    std::fflush(stdout);
    const LineEditor::Result typed = editor.read(kPrompt, kContinuation);
    if (typed.end == LineEditor::End::kClosed) return;
    if (typed.end == LineEditor::End::kInterrupted) {
      if (interrupted) return;
      interrupted = !typed.had_text;
      if (interrupted) std::puts("Ctrl-C once more leaves; so does /exit.");
      continue;
    }
    interrupted = false;
    history.add(typed.text);
    if (!session.handle(typed.text)) return;
  }
}

void run_through_pipe(ChatSession& session) {
  std::string text;
  const auto handle = [&] {
    if (!text.empty() && !valid_utf8(text)) text = replace_invalid_utf8(text);
    const bool goes_on = session.handle(text);
    text.clear();
    return goes_on;
  };
  for (std::string line; std::getline(std::cin, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    text += line;
    const EnterMeans meaning = enter_means(text);
    if (meaning == EnterMeans::kDropBackslash) text.pop_back();
    if (meaning != EnterMeans::kEnd)
      text += '\n';
    else if (!handle())
      return;
  }
  if (!text.empty()) handle();
}

}  // namespace

int chat_command(const Words& args) {
  AnswerOptions options;
  FlagSet flags(
      "octavo chat [MODEL] [flags]",
      "Talks with MODEL in this process, or with a server (--url). At a terminal /help "
      "lists the\ncommands; from a pipe each line is a message, and the answers alone are "
      "written.");
  declare_answer_flags(flags, options);
  if (const auto code = parse_or_exit(flags, args, "chat")) return *code;
  const auto answerer = make_answerer(options, flags);
  if (!answerer.ok()) return report(answerer.status());

  const bool terminal = isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
  std::optional<Interrupt> interrupt;
  if (terminal) interrupt.emplace();
  ChatSession session(**answerer, AnswerView(stdout, terminal), terminal,
                      terminal ? &*interrupt : nullptr);
  session.conversation().set_system(options.system_prompt);
  session.settings() = options.settings;
  if (!terminal) {
    run_through_pipe(session);
    return session.failed() ? kFailed : 0;
  }
  std::printf("%s answers. /help lists the commands, Ctrl-D leaves.\n",
              harmless((*answerer)->model()).c_str());
  run_at_terminal(session);
  return 0;
}

}  // namespace octavo::cli
