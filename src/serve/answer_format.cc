#include "serve/answer_format.h"

#include <iterator>

#include "serve/errors.h"
#include "serve/openai/openai_json.h"

namespace octavo::serve {

void AnswerPiece::merge(AnswerPiece&& more) {
  CompletionOutput& from = more.output;
  output.index = from.index;
  output.text += from.text;
  output.token_ids.insert(output.token_ids.end(), from.token_ids.begin(), from.token_ids.end());
  output.logprobs.insert(output.logprobs.end(), std::make_move_iterator(from.logprobs.begin()),
                         std::make_move_iterator(from.logprobs.end()));
  output.cumulative_logprob = from.cumulative_logprob;
  output.finish_reason = from.finish_reason;
  output.stop_reason = std::move(from.stop_reason);
  output.num_output_tokens = from.num_output_tokens;
  chat.merge(std::move(more.chat));
  times = more.times;
  cached_tokens = more.cached_tokens;
}

void AnswerFormat::fail_stream(std::string& out, const Status& failure) {
  out.append("data: ").append(error_body(failure)).append("\n\n").append(kDoneEvent);
}

HttpResponse AnswerFormat::error(const Status& failure) {
  return error_response(failure);
}

}  // namespace octavo::serve
