#include "serve/views/llama_views.h"

#include <algorithm>

#include "base/json_writer.h"
#include "serve/errors.h"

namespace octavo::serve {

namespace {

// Members of `params`, by llama-server's names: what it and this server both know.
void write_sampling(JsonWriter& w, const SamplingView& s, int max_tokens) {
  w.key("seed").number(s.seed.value_or(-1));
  w.key("temperature").number(s.temperature).key("top_k").number(s.top_k);
  w.key("top_p").number(s.top_p).key("min_p").number(s.min_p);
  w.key("repeat_penalty").number(s.repetition_penalty);
  w.key("presence_penalty").number(s.presence_penalty);
  w.key("frequency_penalty").number(s.frequency_penalty);
  w.key("max_tokens").number(max_tokens).key("n_predict").number(max_tokens);
  w.key("n_probs").number(s.logprobs.value_or(0)).key("ignore_eos").boolean(s.ignore_eos);
}

void write_slot(JsonWriter& w, int id, int n_ctx, bool processing, const SequenceView* sequence) {
  w.begin_object().key("id").number(id).key("n_ctx").number(n_ctx);
  w.key("speculative").boolean(false).key("is_processing").boolean(processing);
  if (sequence != nullptr) {
    w.key("n_prompt_tokens").number(sequence->prompt);
    w.key("n_prompt_tokens_cache").number(sequence->cached);
    w.key("n_prompt_tokens_processed").number(std::min(sequence->computed, sequence->prompt));
    w.key("params").begin_object();
    write_sampling(w, sequence->sampling, sequence->max_output);
    w.end_object();
    w.key("next_token").begin_array().begin_object().key("has_next_token").boolean(true);
    w.key("n_remain").number(sequence->max_output - sequence->output);
    w.key("n_decoded").number(sequence->output).end_object().end_array();
  }
  w.end_object();
}

std::string slots_json(const ModelInfo& model, const EngineState& state) {
  JsonWriter w;
  w.begin_array();
  const int slots = std::max(model.max_num_seqs, state.running);
  const auto shown = static_cast<int>(
      std::count_if(state.sequences.begin(), state.sequences.end(),
                    [](const SequenceView& sequence) { return sequence.running; }));
  for (int id = 0; id < slots; ++id) {
    // Running sequences come first; of very many, not all are described.
    write_slot(w, id, model.max_model_len, id < state.running,
               id < shown ? &state.sequences[static_cast<size_t>(id)] : nullptr);
  }
  w.end_array();
  return std::move(w).take();
}

HttpResponse slots_answer(const ServerContext& context, const EngineState* state,
                          bool fail_when_full) {
  if (state == nullptr) {
    return error_response(unavailable("The engine gives no answer now."));
  }
  const ModelInfo& model = context.engine.model();
  if (fail_when_full && state->running >= model.max_num_seqs) {
    return error_response(unavailable("no slot available"));
  }
  return {.body = slots_json(model, *state), .headers = {{"cache-control", "no-store"}}};
}

// The sampling of requests that do not say.
void write_default_params(JsonWriter& w, const ModelInfo& model) {
  w.begin_object();
  write_sampling(w, SamplingView::of(model.default_sampling), /*max_tokens=*/-1);
  w.key("stop").begin_array().end_array().key("stream").boolean(false).end_object();
}

// What the tokenizer puts before every prompt, if it does.
std::string bos_token(const Text& text) {
  const auto ids = text.encode("", {.add_special_tokens = true});
  return ids.ok() && !ids->empty() ? text.token_string(ids->front()) : "";
}

std::string_view last_component(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  return slash == path.npos ? path : path.substr(slash + 1);
}

}  // namespace

void show_slots(ServerContext& context, const HttpRequest& request,
                std::shared_ptr<HttpExchange> exchange) {
  const bool fail_when_full = request.query == "fail_on_no_slot=1";
  context.engine.inspect(
      [&context, exchange, fail_when_full](std::shared_ptr<const EngineState> state) {
        // Written on the I/O pool: this may be the engine thread.
        context.pool.post([&context, exchange, state, fail_when_full] {
          exchange->respond(slots_answer(context, state.get(), fail_when_full));
        });
      });
}

HttpResponse show_props(ServerContext& context, const HttpRequest&) {
  const ModelInfo& model = context.engine.model();
  const Text& text = context.engine.text();
  JsonWriter w;
  w.begin_object().key("default_generation_settings").begin_object();
  w.key("n_ctx").number(model.max_model_len).key("params");
  write_default_params(w, model);
  w.end_object().key("total_slots").number(model.max_num_seqs);
  w.key("model_alias").string(context.model_names.front());
  w.key("model_path").string(last_component(model.name));
  w.key("modalities").begin_object().key("vision").boolean(false);
  w.key("audio").boolean(false).end_object();
  w.key("chat_template").string(text.chat_template());
  w.key("bos_token").string(bos_token(text)).key("eos_token");
  w.string(model.eos_token_ids.empty() ? "" : text.token_string(model.eos_token_ids.front()));
  w.key("build_info").string("octavo-" OCTAVO_VERSION).key("is_sleeping").boolean(false);
  w.end_object();
  return {.body = std::move(w).take()};
}

}  // namespace octavo::serve
