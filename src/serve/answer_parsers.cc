#include "serve/answer_parsers.h"

#include <algorithm>
#include <optional>

#include "base/log.h"
#include "base/status_macros.h"
#include "text/parsers/detect.h"
#include "text/parsers/output_parser.h"

namespace octavo::serve {

namespace {

// The id of a text that is one token of the vocabulary.
std::optional<TokenId> single_token(const Text& text, std::string_view token) {
  const auto ids = text.encode(token, {.add_special_tokens = false});
  if (!ids.ok() || ids->size() != 1) return std::nullopt;
  return ids->front();
}

std::string choose(const std::string& option, const std::string& detected) {
  if (option == "none") return "";
  return option == "auto" ? detected : option;
}

void log_choice(const char* what, const std::string& option, const std::string& parser) {
  if (parser.empty()) return;
  log_info("serve", std::string(what) + " parser: " + parser +
                        (option == "auto" ? " (detected from the model's files)" : ""));
}

}  // namespace

StatusOr<AnswerParsers> choose_parsers(const ServerOptions& options, const EngineClient& engine) {
  const Text& text = engine.text();
  const text::ParserChoice detected =
      text::detect_parsers(text.chat_template(), engine.model().architecture,
                           single_token(text, "</think>").has_value());
  AnswerParsers out;
  out.tool = choose(options.tool_call_parser, detected.tool);
  out.reasoning = choose(options.reasoning_parser, detected.reasoning);
  RETURN_IF_ERROR(
      text::OutputParser::make({.reasoning_parser = out.reasoning, .tool_parser = out.tool})
          .status());
  const text::ThinkingMarkers markers = text::thinking_markers(out.reasoning);
  const auto in_template = [&](const std::string& marker) {
    return !marker.empty() && text.chat_template().find(marker) != std::string_view::npos;
  };
  out.template_thinks = in_template(markers.begin) || in_template(markers.end);
  for (std::string& marker : text::parser_markers(out.tool, out.reasoning)) {
    const auto id = single_token(text, marker);
    if (!id || !text.is_special(*id)) continue;
    out.special_ids.push_back(*id);
    out.special_markers.push_back(std::move(marker));
  }
  std::sort(out.special_ids.begin(), out.special_ids.end());
  log_choice("tool call", options.tool_call_parser, out.tool);
  log_choice("reasoning", options.reasoning_parser, out.reasoning);
  return out;
}

}  // namespace octavo::serve
