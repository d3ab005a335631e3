// octavo complete: one prompt, one answer, for scripts and pipes.
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "base/status_macros.h"
#include "base/utf8.h"
#include "cli/chat/answer_view.h"
#include "cli/chat/conversation.h"
#include "cli/commands/answer_flags.h"
#include "cli/commands/commands.h"

namespace octavo::cli {
namespace {

struct CompleteOptions {
  AnswerOptions answers;
  std::string prompt;
  std::string json_schema;  // JSON, or a file that holds it
  bool raw = false;
  bool stream = false;
};

StatusOr<std::string> read_prompt(const CompleteOptions& options, bool given) {
  std::string prompt = options.prompt;
  if (!given) {
    if (isatty(STDIN_FILENO) != 0)
      return invalid_argument("there is no prompt: give it by -p, or on standard input");
    prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
    // A chat's message has no use for the line break that every file ends with.
    if (!options.raw && prompt.ends_with('\n')) prompt.pop_back();
  }
  if (prompt.empty()) return invalid_argument("the prompt is empty");
  if (!valid_utf8(prompt)) return invalid_argument("the prompt is no valid UTF-8");
  return prompt;
}

StatusOr<Value> read_schema(const std::string& text) {
  if (text.empty()) return Value();
  std::string json = text;
  if (text.front() != '{') {
    std::ifstream file(text, std::ios::binary);
    if (!file) return not_found("--json: neither an object nor a file: " + text);
    json.assign(std::istreambuf_iterator<char>(file), {});
  }
  StatusOr<Value> schema = parse_json(json);
  if (!schema.ok()) return schema.status().with_context("--json");
  if (!schema->is_dict()) return invalid_argument("--json: the schema is no object");
  return schema;
}

StatusOr<Question> make_question(const CompleteOptions& options, const FlagSet& flags) {
  Question question{.settings = options.answers.settings};
  ASSIGN_OR_RETURN(question.json_schema, read_schema(options.json_schema));
  ASSIGN_OR_RETURN(const std::string prompt, read_prompt(options, flags.given("prompt")));
  if (options.raw) {
    if (!options.answers.system_prompt.empty())
      return invalid_argument("--system-prompt has no place in a --raw prompt");
    question.prompt = prompt;
    return question;
  }
  Conversation conversation;
  conversation.set_system(options.answers.system_prompt);
  conversation.add_question(prompt);
  question.messages = conversation.messages();
  return question;
}

int write_answer(Answerer& answerer, const Question& question, bool stream) {
  const bool terminal = isatty(STDOUT_FILENO) != 0;
  AnswerView view(stdout, terminal);
  const auto answer = answerer.answer(question, -1, [&](std::string_view text, bool reasoning) {
    if (stream && !reasoning) view.show(text, false);
  });
  if (!answer.ok()) {
    view.abandon();
    return report(answer.status());
  }
  if (!stream) view.show(answer->content, false);
  view.end_line();
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    return report(unavailable("cannot write the answer to standard output"));
  return 0;
}

}  // namespace

int complete_command(const Words& args) {
  CompleteOptions options;
  FlagSet flags("octavo complete [MODEL] [-p PROMPT] [flags]",
                "Answers one prompt, from -p or standard input, with MODEL in this process or a "
                "server (--url).");
  flags.group("Prompt");
  flags.text("prompt", &options.prompt, "TEXT", "also -p; otherwise all of standard input");
  flags.turn_on("raw", &options.raw, "go on with the text as it stands, without a chat template");
  flags.text("json", &options.json_schema, "SCHEMA|FILE",
             "the answer is JSON that matches this JSON schema");
  flags.turn_on("stream", &options.stream,
                "write the answer as it comes; at a terminal it always does");
  declare_answer_flags(flags, options.answers);
  Words words = args;
  for (std::string& word : words) {
    if (word == "-p") word = "--prompt";
  }
  if (const auto code = parse_or_exit(flags, words, "complete")) return *code;

  auto question = make_question(options, flags);
  if (!question.ok()) return report(question.status(), kUsage);
  const auto answerer = make_answerer(options.answers, flags);
  if (!answerer.ok()) return report(answerer.status());
  question->settings = options.answers.settings;  // make_answerer may have added the seed
  return write_answer(**answerer, *question, options.stream || isatty(STDOUT_FILENO) != 0);
}

}  // namespace octavo::cli
