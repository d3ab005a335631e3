// Which parsers take the answers of this server's model apart into thinking, content and tool
// calls. Chosen once, when the server starts; constant from then on, any thread.
#pragma once

#include <string>
#include <vector>

#include "octavo/engine_client.h"
#include "serve/server.h"

namespace octavo::serve {

struct AnswerParsers {
  std::string tool;              // vLLM's name; empty: none
  std::string reasoning;         // likewise
  bool template_thinks = false;  // the chat template knows the thinking's markers
  // Those of their markers that are special tokens: ids, ascending, and as text.
  std::vector<TokenId> special_ids;
  std::vector<std::string> special_markers;
};

// What the options name; `auto` leaves it to the model's chat template, architecture and vocabulary
// (text/parsers/detect.h), `none` and nothing at all mean none. Errors (kInvalidArgument): an
// unknown name, or two that do not go together.
StatusOr<AnswerParsers> choose_parsers(const ServerOptions& options, const EngineClient& engine);

}  // namespace octavo::serve
