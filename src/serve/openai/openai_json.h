// What both of OpenAI's dialects write alike. Pure text building; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "serve/answer_format.h"

namespace octavo::serve {

inline constexpr std::string_view kDoneEvent = "data: [DONE]\n\n";

// `{"id":…,"object":…,"created":…,"model":…,"choices":[`
std::string answer_prefix(const AnswerHead& head, std::string_view object);
// From the end of the choices to the end of the usage.
void append_answer_tail(std::string& out, const Usage& usage);

void append_finish_reason(std::string& out, const AnswerPiece& piece);
void append_stop_reason(std::string& out, const CompletionOutput& output);
// null unless `wanted`.
void append_token_ids(std::string& out, const std::vector<TokenId>& ids, bool wanted);
void append_usage(std::string& out, const Usage& usage);
// Of one choice of a stream, up to now.
void append_usage_so_far(std::string& out, const AnswerPrompt& prompt, int completion_tokens);
// In a stream, of its last message alone: the usage, or else what ends a choice.
void append_fingerprint(std::string& out);
// `,"timings":{…}` and `,"metrics":{…}`, as far as the options ask for them: of a whole answer, and
// of what a stream's choice has got so far.
void append_times(std::string& out, const AnswerOptions& options, const Usage& usage);
void append_times(std::string& out, const AnswerOptions& options, const AnswerPiece& piece,
                  const AnswerPrompt& prompt);

// How a stream ends: with the usage in a chunk without choices where it is asked for.
void append_stream_end(std::string& out, const AnswerHead& head, std::string_view object,
                       const Usage& usage);

}  // namespace octavo::serve
