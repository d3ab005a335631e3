#include "text/parsers/testing_parse.h"

#include <gtest/gtest.h>

#include "base/testing_files.h"
#include "text/parsers/json_scanner.h"

namespace octavo::text {

void PrintTo(const ParsedOutput& out, std::ostream* os) {
  *os << "reasoning <" << out.reasoning << "> content <" << out.content << ">";
  for (const auto& call : out.calls) *os << " " << call.name << "(" << call.arguments << ")";
}

ParsedOutput parse(const OutputParserOptions& options, const std::vector<std::string>& pieces) {
  auto parser = OutputParser::make(options);
  EXPECT_TRUE(parser.ok()) << parser.status().to_string();
  std::vector<ParseEvent> events;
  for (const std::string& piece : pieces) {
    for (auto& event : parser->feed(piece)) events.push_back(std::move(event));
  }
  for (auto& event : parser->finish()) events.push_back(std::move(event));
  int open = -1;
  for (const ParseEvent& event : events) {  // begin, arguments, end or retraction, one at a time
    if (event.kind == ParseEventKind::kCallBegin) {
      EXPECT_EQ(open, -1);
      open = event.call;
    } else if (event.kind != ParseEventKind::kReasoning) {
      EXPECT_EQ(event.call, open);
    }
    if (event.kind == ParseEventKind::kCallEnd || event.kind == ParseEventKind::kCallRetracted) {
      open = -1;
    }
  }
  EXPECT_EQ(open, -1);
  const ParsedOutput out = collect(events);
  for (const ParsedCall& call : out.calls) {
    EXPECT_TRUE(is_json_object(call.arguments)) << call.arguments;
  }
  return out;
}

ParsedOutput parse_every_way(const OutputParserOptions& options, const std::string& text) {
  const auto steps = [](const std::string& t, size_t step) {
    std::vector<std::string> pieces;
    for (size_t i = 0; i < t.size(); i += step) pieces.push_back(t.substr(i, step));
    return pieces;
  };
  const ParsedOutput whole = parse(options, {text});
  for (size_t step = 1; step < 8; ++step) EXPECT_EQ(parse(options, steps(text, step)), whole);
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    const std::string head = text.substr(0, cut);
    EXPECT_EQ(parse(options, {head, text.substr(cut)}), whole) << "split at " << cut;
    const ParsedOutput cut_off = parse(options, {head});
    EXPECT_EQ(parse(options, steps(head, 1)), cut_off) << "cut off at " << cut;
    if (options.reasoning_parser.empty() && options.tool_parser != "openai" &&
        cut_off.calls.empty()) {
      EXPECT_EQ(cut_off.content, head);
    }
  }
  return whole;
}

void expect_samples(const OutputParserOptions& options, const std::vector<Sample>& samples) {
  EXPECT_GE(samples.size(), 10u);
  for (const Sample& sample : samples) {
    SCOPED_TRACE(sample.text);
    EXPECT_EQ(parse_every_way(options, sample.text),
              (ParsedOutput{sample.reasoning, sample.content, sample.calls}));
  }
}

Sample plain(const std::string& text) {
  return {text, text, {}};
}

std::filesystem::path templates_folder() {
  return testing::shared_folder() / "data/chat_templates";
}

Value sample_tools() {
  static constexpr const char* kTools =
      R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties":
    {"s": {"type": "string"}, "i": {"type": "integer"}, "n": {"type": "number"}, "b": {"type": "boolean"},
     "o": {"type": "object"}, "l": {"anyOf": [{"type": "array"}, {"type": "null"}]}}}}}])";
  return *parse_json(kTools);
}

}  // namespace octavo::text
