// How an answer is written in the dialect of /v1/responses: one object that is told again and again
// as it grows, and events about its items.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "serve/answer_format.h"
#include "serve/responses/response_store.h"

namespace octavo::serve {

// Takes an answer that may be asked for again: its items, and all of it.
using KeepResponse =
    std::function<void(std::vector<StoredResponse::Item> output_items, std::string body)>;

// `echo`: echo_members() of the request. `keep` may be null; it is called once, before the client
// learns that the answer has ended, by the thread that ends it, unless the answer fails.
std::unique_ptr<AnswerFormat> make_responses_format(AnswerHead head, std::string echo,
                                                    KeepResponse keep);

}  // namespace octavo::serve
