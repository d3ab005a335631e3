// Anthropic's dialect as an AnswerFormat: a message of content blocks, and the events of its
// stream.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "serve/answer_format.h"

namespace octavo::serve {

// REQUIRES: head.chat; one prompt and one choice. `request_id` is what errors repeat;
// `context_left`, where the client has asked for more, is how many tokens the context has room for:
// an answer of that length says so.
//
// A stream tells text, thinking and the arguments of forced calls as they come. A call in the
// model's own notation is told once it is whole, since clients run what they are told and it may
// turn out to be none; `ping` events come meanwhile.
std::unique_ptr<AnswerFormat> make_messages_format(AnswerHead head, std::string request_id,
                                                   std::optional<int> context_left);

}  // namespace octavo::serve
