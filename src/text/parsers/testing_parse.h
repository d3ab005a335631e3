// Helpers of the parsers' tests: a text through an OutputParser in every way that it may arrive.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

#include "text/parsers/output_parser.h"

namespace octavo::text {

// For the messages of failed tests.
void PrintTo(const ParsedOutput& out, std::ostream* os);

// The pieces one after the other. Checks the order of the events: begin, arguments, end or
// retraction, one call at a time.
ParsedOutput parse(const OutputParserOptions& options, const std::vector<std::string>& pieces);

// The text whole, byte by byte, in every two pieces, and in steps of 2 to 7 bytes; and each way to
// cut it off: byte by byte the same as whole, and nothing lost where no call is left.
ParsedOutput parse_every_way(const OutputParserOptions& options, const std::string& text);

struct Sample {
  std::string text;
  std::string content;
  std::vector<ParsedCall> calls;
  std::string reasoning = {};
};
// At least ten of them, each every way.
void expect_samples(const OutputParserOptions& options, const std::vector<Sample>& samples);

// A text that is no call comes back as it is.
Sample plain(const std::string& text);

// An OpenAI list with one tool, f, whose parameters have every type.
Value sample_tools();

// shared/data/chat_templates, which may not be there.
std::filesystem::path templates_folder();

}  // namespace octavo::text
