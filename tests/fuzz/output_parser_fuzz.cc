// The tool and reasoning parsers on any text: no crash, and the same result whole, byte by byte and
// in pieces whose sizes the input chooses. The first bytes choose parsers, notation and sizes.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fuzzing.h"
#include "octavo/value.h"
#include "text/parsers/json_scanner.h"
#include "text/parsers/output_parser.h"

namespace {

using octavo::require;
using octavo::Value;
using namespace octavo::text;  // NOLINT: the file is the room's

const Value& tools() {
  static const Value list = *octavo::parse_json(
      R"([{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":)"
      R"({"s":{"type":"string"},"i":{"type":"integer"},"o":{"type":"object"}}}}}])");
  return list;
}

// Aborts unless `json` is an object, and nothing after it.
void check_object(const std::string& json) {
  JsonScanner scanner;
  require(!json.empty() && json.front() == '{');
  for (size_t i = 0; i < json.size(); ++i) {
    const bool last = i + 1 == json.size();
    require(scanner.push(json[i]) ==
            (last ? JsonScanner::Result::kDone : JsonScanner::Result::kMore));
  }
}

// size 0: whole.
ParsedOutput parse(const OutputParserOptions& options, std::string_view text, size_t size) {
  auto parser = OutputParser::make(options);
  require(parser.ok());
  std::vector<ParseEvent> events;
  const auto add = [&](std::vector<ParseEvent> more) {
    for (ParseEvent& event : more) events.push_back(std::move(event));
  };
  if (size == 0) size = text.size() + 1;
  for (size_t at = 0; at < text.size(); at += size) add(parser->feed(text.substr(at, size)));
  add(parser->finish());
  ParsedOutput out = collect(events);
  for (const ParsedCall& call : out.calls) check_object(call.arguments);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  const auto tool_names = tool_parser_names();
  const auto reasoning_names = reasoning_parser_names();
  OutputParserOptions options;
  const size_t tool = data[0] % (tool_names.size() + 1);
  const size_t reasoning = data[1] % (reasoning_names.size() + 1);
  if (tool < tool_names.size()) options.tool_parser = tool_names[tool];
  if (reasoning < reasoning_names.size()) options.reasoning_parser = reasoning_names[reasoning];
  options.notation = static_cast<CallNotation>(data[2] % 3);
  options.named_function = "f";
  options.prompt_ends_inside_thinking = (data[2] & 4) != 0;
  options.tools = tools();
  if ((data[2] & 8) != 0) {
    options.hidden_markers = parser_markers(options.tool_parser, options.reasoning_parser);
  }
  if (!OutputParser::make(options).ok()) options.reasoning_parser.clear();  // harmony beside others
  const std::string_view text(reinterpret_cast<const char*>(data) + 4, size - 4);
  const ParsedOutput whole = parse(options, text, 0);
  require(parse(options, text, 1) == whole);
  require(parse(options, text, 2 + data[3] % 30) == whole);
  return 0;
}
