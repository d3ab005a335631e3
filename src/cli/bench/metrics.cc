// The arithmetic of a serving benchmark (vllm.md, section 7).
#include "cli/bench/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

namespace octavo::bench {

double percentile(const std::vector<double>& sorted, double p) {
  if (sorted.empty()) return 0;
  const double position = p / 100 * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(std::floor(position));
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (position - std::floor(position));
}

Distribution describe(std::vector<double> samples, const std::vector<double>& percentiles) {
  Distribution d;
  std::sort(samples.begin(), samples.end());
  const auto n = static_cast<double>(samples.size());
  if (n > 0) {
    d.mean = std::accumulate(samples.begin(), samples.end(), 0.0) / n;
    double squares = 0;
    for (const double x : samples) squares += (x - d.mean) * (x - d.mean);
    d.std = std::sqrt(squares / n);
  }
  d.median = percentile(samples, 50);
  for (const double p : percentiles) d.percentiles.emplace_back(p, percentile(samples, p));
  return d;
}

Status parse_goodput(const std::vector<std::string>& words, Goodput& goodput) {
  for (const std::string& word : words) {
    const size_t colon = word.find(':');
    double bound = -1;
    if (colon != std::string::npos) {
      std::from_chars(word.data() + colon + 1, word.data() + word.size(), bound);
    }
    const std::string name = word.substr(0, colon);
    std::optional<double>* target = name == "ttft"   ? &goodput.ttft
                                    : name == "tpot" ? &goodput.tpot
                                    : name == "e2el" ? &goodput.e2el
                                                     : nullptr;
    if (target == nullptr || bound < 0) {
      return invalid_argument("'" + word + "' is not ttft:MS, tpot:MS or e2el:MS");
    }
    *target = bound;
  }
  return {};
}

namespace {

// Tokens and requests in flight for each second of the run.
void find_peaks(const LoadOutcome& outcome, ServeMetrics& metrics) {
  const auto seconds = static_cast<size_t>(std::ceil(outcome.duration)) + 1;
  std::vector<double> tokens(seconds, 0);
  std::vector<int> requests(seconds, 0);
  const auto bucket = [seconds](double at) {
    return std::min(static_cast<size_t>(std::max(at, 0.0)), seconds - 1);
  };
  for (const LoadResult& r : outcome.results) {
    if (!r.ok) continue;
    double at = r.start + r.ttft;
    ++tokens[bucket(at)];
    for (const float gap : r.itl) {
      at += gap;
      ++tokens[bucket(at)];
    }
    for (size_t s = bucket(r.start); s <= bucket(r.start + r.latency); ++s) ++requests[s];
  }
  metrics.max_output_tokens_per_s = *std::max_element(tokens.begin(), tokens.end());
  metrics.max_concurrent_requests = *std::max_element(requests.begin(), requests.end());
}

bool is_good(const LoadResult& r, double tpot_ms, const Goodput& goodput) {
  return (!goodput.ttft || r.ttft * 1e3 <= *goodput.ttft) &&
         (!goodput.tpot || tpot_ms <= *goodput.tpot) &&
         (!goodput.e2el || r.latency * 1e3 <= *goodput.e2el);
}

}  // namespace

ServeMetrics compute_metrics(const std::vector<Prompt>& prompts, const LoadOutcome& outcome,
                             const std::vector<double>& percentiles, const Goodput& goodput) {
  ServeMetrics m;
  std::vector<double> ttft, tpot, itl, e2el;
  int good = 0;
  for (size_t i = 0; i < outcome.results.size(); ++i) {
    const LoadResult& r = outcome.results[i];
    if (!r.ok) {
      ++m.failed;
      continue;
    }
    ++m.completed;
    m.total_input += prompts[i].input_len > 0 ? prompts[i].input_len : std::max(r.prompt_tokens, 0);
    m.total_output += r.output_tokens;
    double request_tpot = 0;
    if (r.output_tokens > 1) {
      request_tpot = (r.latency - r.ttft) * 1e3 / (r.output_tokens - 1);
      tpot.push_back(request_tpot);
    }
    ttft.push_back(r.ttft * 1e3);
    e2el.push_back(r.latency * 1e3);
    for (const float gap : r.itl) itl.push_back(static_cast<double>(gap) * 1e3);
    if (is_good(r, request_tpot, goodput)) ++good;
  }
  m.duration = outcome.duration;
  const double per_second = m.duration > 0 ? 1 / m.duration : 0;
  m.request_throughput = m.completed * per_second;
  if (goodput.asked()) m.request_goodput = good * per_second;
  m.output_throughput = static_cast<double>(m.total_output) * per_second;
  m.total_token_throughput = static_cast<double>(m.total_input + m.total_output) * per_second;
  find_peaks(outcome, m);
  m.ttft = describe(std::move(ttft), percentiles);
  m.tpot = describe(std::move(tpot), percentiles);
  m.itl = describe(std::move(itl), percentiles);
  m.e2el = describe(std::move(e2el), percentiles);
  return m;
}

}  // namespace octavo::bench
