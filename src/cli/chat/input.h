// What a user types: where a message ends, and which words are commands. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "cli/terminal/line_editor.h"

namespace octavo::cli {

// A text is whole at the end of a line, but goes on after a backslash, and within """ to the next
// """.
EnterMeans enter_means(const std::string& text);
// The text without the """ around it.
std::string without_quotes(const std::string& text);

struct TypedCommand {
  std::string name;  // "save"; empty: this is no command but a message
  std::string argument;
};
// "/name argument". A slash with anything but a word behind it begins a message, and so does a
// blank before the slash.
TypedCommand parse_command(std::string_view text);

}  // namespace octavo::cli
