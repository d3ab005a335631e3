// What llama-server shows of itself, for its clients: GET /slots and GET /props. Octavo has no
// slots: a slot here is a place in the batch (--max-num-seqs), taken by whichever sequences run, so
// its number names no sequence from one answer to the next. No prompt and no answer is shown.
#pragma once

#include <memory>

#include "serve/server_context.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

// [{"id","n_ctx","speculative","is_processing", and of those that work: "n_prompt_tokens",
// "n_prompt_tokens_cache","n_prompt_tokens_processed","next_token":{…}}]. What requests ask for
// (`params`, `id_task`) is not shown. 503 when the engine gives no answer, and with
// ?fail_on_no_slot=1 when every slot is taken. Any thread; the answer comes when the engine thread
// is between two steps.
void show_slots(ServerContext& context, const HttpRequest& request,
                std::shared_ptr<HttpExchange> exchange);

// The model, its template and the defaults of requests. I/O thread.
HttpResponse show_props(ServerContext& context, const HttpRequest& request);

}  // namespace octavo::serve
