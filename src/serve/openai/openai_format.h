// OpenAI's two dialects as AnswerFormats. What is constant over a request is built once, so that
// one token costs a few appends.
#pragma once

#include <memory>

#include "octavo/text.h"
#include "serve/answer_format.h"

namespace octavo::serve {

// /v1/completions: text_completion. `text` outlives the format.
std::unique_ptr<AnswerFormat> make_completions_format(AnswerHead head, const Text& text);
// /v1/chat/completions: chat.completion. REQUIRES: head.chat; its requests have one prompt.
std::unique_ptr<AnswerFormat> make_chat_format(AnswerHead head);

}  // namespace octavo::serve
