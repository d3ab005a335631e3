// The figures of a serving benchmark as vLLM's table and as vLLM's JSON.
#include <cmath>
#include <cstdio>

#include "base/json_writer.h"
#include "cli/bench/metrics.h"
#include "octavo/value.h"

namespace octavo::bench {
namespace {

struct Named {
  const char* key;     // "ttft"
  const char* label;   // "TTFT"
  const char* header;  // "Time to First Token"
  const Distribution& values;
};

std::vector<Named> selected(const ServeRun& run, const ServeMetrics& m) {
  const Named all[] = {{"ttft", "TTFT", "Time to First Token", m.ttft},
                       {"tpot", "TPOT", "Time per Output Token (excl. 1st token)", m.tpot},
                       {"itl", "ITL", "Inter-token Latency", m.itl},
                       {"e2el", "E2EL", "End-to-end Latency", m.e2el}};
  std::vector<Named> out;
  for (const Named& one : all) {
    for (const std::string& name : run.selected_metrics) {
      if (name == one.key) out.push_back(one);
    }
  }
  return out;
}

std::string ruler(const std::string& title, char fill) {
  const size_t blank = title.size() < 50 ? 50 - title.size() : 0;
  return std::string(blank / 2, fill) + title + std::string(blank - blank / 2, fill) + "\n";
}

std::string row(const std::string& name, const std::string& value) {
  std::string line = name;
  if (line.size() < 40) line.append(40 - line.size(), ' ');
  line += " " + value;
  if (value.size() < 10) line.append(10 - value.size(), ' ');
  return line + "\n";
}

std::string row(const std::string& name, int64_t value) {
  return row(name, std::to_string(value));
}
std::string row(const std::string& name, int value) {
  return row(name, std::to_string(value));
}

std::string row(const std::string& name, double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.2f", value);
  return row(name, std::string(text));
}

// 99 → "99", 99.9 → "99.9"
std::string percentile_word(double p) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", p);
  return text;
}

std::string rate_word(double rate) {
  return std::isinf(rate) ? "inf" : percentile_word(rate);
}

template <typename T, typename Append>
void append_list(JsonWriter& json, const char* key, const std::vector<T>& items, Append append) {
  json.key(key).begin_array();
  for (const T& item : items) append(item);
  json.end_array();
}

// The text of a stream, put together from the payloads that were kept.
std::string generated_text(const std::string& events) {
  std::string text;
  for (size_t begin = 0; begin < events.size();) {
    const size_t end = events.find('\n', begin);
    const auto event = parse_json(std::string_view(events).substr(begin, end - begin));
    begin = end + 1;
    const Value* choices = event.ok() ? event->find("choices") : nullptr;
    if (choices == nullptr || !choices->is_list() || choices->as_list().empty()) continue;
    const Value& choice = choices->as_list()[0];
    const Value* piece = choice.find("text");
    if (const Value* delta = choice.find("delta")) piece = delta->find("content");
    if (piece != nullptr && piece->is_string()) text += piece->as_string();
  }
  return text;
}

void append_details(JsonWriter& json, const std::vector<Prompt>& prompts,
                    const LoadOutcome& outcome) {
  const auto& results = outcome.results;
  append_list(json, "input_lens", prompts, [&](const Prompt& p) { json.number(p.input_len); });
  append_list(json, "output_lens", results,
              [&](const LoadResult& r) { json.number(r.output_tokens); });
  append_list(json, "start_times", results, [&](const LoadResult& r) { json.number(r.start); });
  append_list(json, "ttfts", results, [&](const LoadResult& r) { json.number(r.ttft); });
  append_list(json, "itls", results, [&](const LoadResult& r) {
    json.begin_array();
    for (const float gap : r.itl) json.number(static_cast<double>(gap));
    json.end_array();
  });
  append_list(json, "generated_texts", results,
              [&](const LoadResult& r) { json.string(generated_text(r.events)); });
  append_list(json, "errors", results, [&](const LoadResult& r) { json.string(r.error); });
}

}  // namespace

std::string serve_table(const ServeRun& run, const ServeMetrics& m) {
  std::string out = ruler(" Serving Benchmark Result ", '=');
  out += row("Successful requests:", m.completed);
  out += row("Failed requests:", m.failed);
  if (run.max_concurrency > 0) out += row("Maximum request concurrency:", run.max_concurrency);
  if (!std::isinf(run.request_rate)) out += row("Request rate configured (RPS):", run.request_rate);
  out += row("Benchmark duration (s):", m.duration);
  out += row("Total input tokens:", m.total_input);
  out += row("Total generated tokens:", m.total_output);
  out += row("Request throughput (req/s):", m.request_throughput);
  if (m.request_goodput) out += row("Request goodput (req/s):", *m.request_goodput);
  out += row("Output token throughput (tok/s):", m.output_throughput);
  out += row("Peak output token throughput (tok/s):", m.max_output_tokens_per_s);
  out += row("Peak concurrent requests:", static_cast<double>(m.max_concurrent_requests));
  out += row("Total token throughput (tok/s):", m.total_token_throughput);
  for (const Named& metric : selected(run, m)) {
    const std::string unit = std::string(metric.label) + " (ms):";
    out += ruler(metric.header, '-');
    out += row("Mean " + unit, metric.values.mean);
    out += row("Median " + unit, metric.values.median);
    for (const auto& [p, value] : metric.values.percentiles) {
      out += row("P" + percentile_word(p) + " " + unit, value);
    }
  }
  return out + std::string(50, '=') + "\n";
}

std::string serve_json(const ServeRun& run, const ServeMetrics& m,
                       const std::vector<Prompt>& prompts, const LoadOutcome* detailed) {
  JsonWriter json;
  json.begin_object();
  json.key("date").string(run.date);
  json.key("endpoint_type").string(run.backend);
  json.key("backend").string(run.backend);
  json.key("label");
  run.label.empty() ? json.null() : json.string(run.label);
  json.key("model_id").string(run.model);
  json.key("tokenizer_id").string(run.model);
  json.key("num_prompts").number(run.num_prompts);
  for (const auto& [name, value] : run.metadata) json.key(name).string(value);
  json.key("request_rate");
  std::isinf(run.request_rate) ? json.string("inf") : json.number(run.request_rate);
  json.key("burstiness").number(run.burstiness);
  json.key("max_concurrency");
  run.max_concurrency > 0 ? json.number(run.max_concurrency) : json.null();
  json.key("duration").number(m.duration);
  json.key("completed").number(m.completed);
  json.key("failed").number(m.failed);
  json.key("total_input_tokens").number(m.total_input);
  json.key("total_output_tokens").number(m.total_output);
  json.key("request_throughput").number(m.request_throughput);
  json.key("request_goodput");
  m.request_goodput ? json.number(*m.request_goodput) : json.null();
  json.key("output_throughput").number(m.output_throughput);
  json.key("total_token_throughput").number(m.total_token_throughput);
  json.key("max_output_tokens_per_s").number(m.max_output_tokens_per_s);
  json.key("max_concurrent_requests").number(m.max_concurrent_requests);
  if (detailed != nullptr) append_details(json, prompts, *detailed);
  for (const Named& metric : selected(run, m)) {
    const std::string unit = std::string("_") + metric.key + "_ms";
    json.key("mean" + unit).number(metric.values.mean);
    json.key("median" + unit).number(metric.values.median);
    json.key("std" + unit).number(metric.values.std);
    for (const auto& [p, value] : metric.values.percentiles) {
      json.key("p" + percentile_word(p) + unit).number(value);
    }
  }
  json.end_object();
  return std::move(json).take();
}

std::string default_result_name(const ServeRun& run) {
  const std::string concurrency =
      run.max_concurrency > 0 ? "-concurrency" + std::to_string(run.max_concurrency) : "";
  return (run.label.empty() ? run.backend : run.label) + "-" + rate_word(run.request_rate) + "qps" +
         concurrency + "-" + run.base_model_name() + "-" + run.date + ".json";
}

}  // namespace octavo::bench
