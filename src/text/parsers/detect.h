// Which parsers read the answers of a model, by what its chat template writes: a template that
// shows the model its own calls and thinking shows them in the notation that the model uses. Called
// once, when a server starts. Pure function.
#pragma once

#include <string>
#include <string_view>

namespace octavo::text {

// vLLM's names; empty: none fits.
struct ParserChoice {
  std::string tool;
  std::string reasoning;
  friend bool operator==(const ParserChoice&, const ParserChoice&) = default;
};

// `chat_template`: Jinja source. Where it says nothing, `architecture`, as config.json names it,
// decides; and for the thinking, whether the vocabulary has a token `</think>`.
ParserChoice detect_parsers(std::string_view chat_template, std::string_view architecture,
                            bool has_think_token);

}  // namespace octavo::text
