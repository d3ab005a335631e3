#include "serve/openai/timings.h"

#include <algorithm>
#include <string_view>

#include "base/json_writer.h"

namespace octavo::serve {

namespace {

double milliseconds_between(double begin, double end) {
  return begin > 0 ? std::max(0.0, (end - begin) * 1000) : 0;
}

void write_phase(JsonWriter& w, const std::string& name, int64_t tokens, double ms) {
  const auto count = static_cast<double>(tokens);
  w.key(name + "_n").number(tokens).key(name + "_ms").number(ms);
  w.key(name + "_per_token_ms").number(tokens > 0 ? ms / count : 0);
  w.key(name + "_per_second").number(ms > 0 ? count * 1000 / ms : 0);
}

}  // namespace

void append_timings(std::string& out, const AnswerTimes& times) {
  const RequestMetrics& at = times.at;
  JsonWriter w;
  w.begin_object().key("cache_n").number(times.cached_tokens);
  write_phase(w, "prompt", times.prompt_tokens - times.cached_tokens,
              milliseconds_between(at.first_scheduled, at.first_token));
  write_phase(w, "predicted", times.output_tokens,
              milliseconds_between(at.first_token, at.last_token));
  w.end_object();
  out += w.text();
}

void append_request_metrics(std::string& out, const AnswerTimes& times) {
  const RequestMetrics& at = times.at;
  const double generation = milliseconds_between(at.first_token, at.last_token);
  JsonWriter w;
  const auto write = [&w](std::string_view name, double ms, bool known) {
    w.key(name);
    if (known) {
      w.number(ms);
    } else {
      w.null();
    }
  };
  const bool begun = at.first_token > 0;
  const bool several = times.output_tokens > 1 && generation > 0;
  const auto gaps = static_cast<double>(times.output_tokens - 1);
  w.begin_object();
  write("time_to_first_token_ms", milliseconds_between(at.arrival, at.first_token), begun);
  write("generation_time_ms", generation, begun);
  write("queue_time_ms", milliseconds_between(at.arrival, at.first_scheduled),
        at.first_scheduled > 0);
  write("mean_itl_ms", generation / gaps, several);
  write("tokens_per_second", gaps * 1000 / generation, several);
  w.end_object();
  out += w.text();
}

}  // namespace octavo::serve
