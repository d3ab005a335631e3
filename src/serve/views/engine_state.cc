#include "serve/views/engine_state.h"

#include <utility>

#include "base/json_writer.h"
#include "serve/errors.h"

namespace octavo::serve {

namespace {

void write_model(JsonWriter& w, const ServerContext& context) {
  const ModelInfo& model = context.engine.model();
  w.begin_object().key("name").string(context.model_names.front());
  w.key("architecture").string(model.architecture).key("dtype").string(model.dtype);
  w.key("device").string(model.device).key("parameters").number(model.num_parameters);
  w.key("weight_bytes").number(model.weight_bytes).key("max_model_len").number(model.max_model_len);
  w.key("max_num_seqs").number(model.max_num_seqs);
  w.key("max_num_batched_tokens").number(model.max_num_batched_tokens).end_object();
}

void write_defaults(JsonWriter& w, const SamplingParams& sampling) {
  w.begin_object().key("temperature").number(sampling.temperature);
  w.key("top_p").number(sampling.top_p).key("top_k").number(sampling.top_k);
  w.key("min_p").number(sampling.min_p);
  w.key("presence_penalty").number(sampling.presence_penalty);
  w.key("frequency_penalty").number(sampling.frequency_penalty);
  w.key("repetition_penalty").number(sampling.repetition_penalty).end_object();
}

void write_cache(JsonWriter& w, const ModelInfo& model, const std::vector<CacheMap>& maps) {
  w.begin_object().key("block_size").number(model.block_size);
  w.key("bytes").number(model.kv_cache_bytes);
  w.key("prefix_caching").boolean(model.prefix_caching).key("groups").begin_array();
  for (const CacheMap& map : maps) {
    w.begin_object().key("blocks").number(map.num_blocks).key("window").number(map.window);
    w.key("free").number(map.free).key("cached").number(map.cached);
    w.key("used").number(map.used).key("shared").number(map.shared);
    w.key("blocks_per_cell").number(map.blocks_per_cell);
    w.key("runs").string(map.runs).end_object();
  }
  w.end_array().end_object();
}

void write_sequences(JsonWriter& w, const std::vector<SequenceView>& sequences) {
  w.begin_array();
  for (const SequenceView& sequence : sequences) {
    w.begin_object().key("running").boolean(sequence.running);
    w.key("prompt_tokens").number(sequence.prompt).key("cached_tokens").number(sequence.cached);
    w.key("computed_tokens").number(sequence.computed);
    w.key("output_tokens").number(sequence.output).end_object();
  }
  w.end_array();
}

std::string state_json(const ServerContext& context, const EngineState& state) {
  JsonWriter w;
  w.begin_object().key("model");
  write_model(w, context);
  w.key("default_sampling");
  write_defaults(w, context.engine.model().default_sampling);
  w.key("running").number(state.running).key("waiting").number(state.waiting);
  w.key("cache");
  write_cache(w, context.engine.model(), state.cache);
  w.key("sequences");
  write_sequences(w, state.sequences);
  w.end_object();
  return std::move(w).take();
}

}  // namespace

void show_engine_state(ServerContext& context, const HttpRequest&,
                       std::shared_ptr<HttpExchange> exchange) {
  context.engine.inspect([&context, exchange](std::shared_ptr<const EngineState> state) {
    // Written on the I/O pool: this may be the engine thread.
    context.pool.post([&context, exchange, state] {
      if (!state) {
        return exchange->respond(error_response(unavailable("The engine gives no answer now.")));
      }
      exchange->respond(
          {.body = state_json(context, *state), .headers = {{"cache-control", "no-store"}}});
    });
  });
}

}  // namespace octavo::serve
