// Tests of the load generator: the client against a small server, the arithmetic against hand-made
// figures.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "cli/bench/event_facts.h"
#include "cli/bench/load_client.h"
#include "cli/bench/metrics.h"
#include "cli/bench/workload.h"
#include "octavo/value.h"

namespace octavo::bench {

namespace {

TEST(Events, AreScannedLikeJson) {
  EXPECT_TRUE(read_event(R"({"choices":[{"text":"\"choices\":[]"}]})").has_choices);
  EXPECT_TRUE(read_event(R"({"id":"choices","choices": [ {"text":""}]})").has_choices);
  const EventFacts usage = read_event(
      R"({"choices": [ ],"usage":{"prompt_tokens":7,"total_tokens":10,"completion_tokens":3}})");
  EXPECT_FALSE(usage.has_choices);
  EXPECT_EQ(usage.completion_tokens, 3);
  EXPECT_EQ(usage.prompt_tokens, 7);
  EXPECT_FALSE(usage.is_error);
  EXPECT_TRUE(read_event(R"({"error":{"message":"x"}})").is_error);
}

// Answers every request on every connection with `tokens` events, a thread a connection.
class StreamServer {
 public:
  explicit StreamServer(int tokens, int requests_per_connection = 1 << 30)
      : tokens_(tokens), limit_(requests_per_connection) {
    fd_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    listen(fd_, 512);
    socklen_t size = sizeof address;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/base";
    thread_ = std::thread([this] { accept_all(); });
  }
  ~StreamServer() {
    shutdown(fd_, SHUT_RDWR);
    close(fd_);
    thread_.join();
    for (std::thread& t : served_) t.join();
  }
  std::string url() const { return url_; }
  int connections() const { return connections_; }
  int most_at_once() const { return most_; }

 private:
  void accept_all() {
    for (int c; (c = accept(fd_, nullptr, nullptr)) >= 0;) {
      ++connections_;
      const int on = 1;
      setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      served_.emplace_back([this, c] { serve(c); });
    }
  }
  void serve(int c) {
    std::string in;
    char buffer[4096];
    for (int served = 0; served < limit_; ++served) {
      size_t head;
      while ((head = in.find("\r\n\r\n")) == std::string::npos ||
             in.find("}", head) == std::string::npos) {
        const ssize_t n = recv(c, buffer, sizeof buffer, 0);
        if (n <= 0) return static_cast<void>(close(c));
        in.append(buffer, static_cast<size_t>(n));
      }
      const int now = ++active_;
      for (int most = most_; now > most && !most_.compare_exchange_weak(most, now);) {
      }
      answer(c, in.rfind("POST /base/v1/completions HTTP/1.1", 0) == 0 &&
                    in.find("bad") == std::string::npos);
      --active_;
      in.clear();
    }
    close(c);
  }
  void answer(int c, bool good) {
    const auto put = [c](const std::string& s) { send(c, s.data(), s.size(), MSG_NOSIGNAL); };
    if (!good) return put("HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\noops");
    put("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    const auto chunk = [&](const std::string& s) {
      char size[32];
      std::snprintf(size, sizeof size, "%zx\r\n", s.size());
      put(size + s + "\r\n");
    };
    for (int i = 0; i < tokens_; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      chunk("data: {\"choices\":[{\"text\":\"x\"}]}\n\n");
    }
    chunk("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":" +
          std::to_string(tokens_) + "}}\n\ndata: [DONE]\n\n");
    put("0\r\n\r\n");
  }

  int tokens_, limit_, fd_;
  std::string url_;
  std::atomic<int> connections_{0}, active_{0}, most_{0};
  std::thread thread_;
  std::vector<std::thread> served_;
};

TEST(LoadClient, TimesEveryTokenAndReusesConnections) {
  StreamServer server(4);
  const auto endpoint = resolve_endpoint(server.url());
  ASSERT_TRUE(endpoint.ok()) << endpoint.status().message();
  const std::vector<LoadRequest> requests(40, {.body = "{}", .expected_tokens = 4});
  size_t last_done = 0;
  const auto outcome =
      run_load(*endpoint, requests,
               {.max_concurrency = 8, .keep_events = true, .on_progress = [&](size_t done, double) {
                  last_done = done;
                }});
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(last_done, 40u);
  for (const LoadResult& r : outcome->results) {
    ASSERT_TRUE(r.ok) << r.error;
    EXPECT_EQ(r.output_tokens, 4);
    EXPECT_EQ(r.prompt_tokens, 5);
    EXPECT_EQ(r.itl.size(), 3u);
    EXPECT_GE(r.ttft, 0.0019);
    EXPECT_GE(r.latency, 0.0079);  // of the four pauses; a late reader sees less between tokens
    EXPECT_GE(r.latency, r.ttft);
  }
  EXPECT_LE(server.most_at_once(), 8);
  EXPECT_EQ(server.connections(), 8);
}

TEST(LoadClient, StartsAgainOnConnectionsThatWereClosedWhileIdle) {
  StreamServer server(1, 1);
  const std::vector<LoadRequest> requests(12, {.body = "{}"});
  const auto outcome = run_load(*resolve_endpoint(server.url()), requests, {.max_concurrency = 2});
  for (const LoadResult& r : outcome->results) EXPECT_TRUE(r.ok) << r.error;
}

TEST(LoadClient, ReportsFailuresAndGoesOn) {
  StreamServer server(1);
  const std::vector<LoadRequest> requests = {
      {.body = "{}"}, {.body = "{bad}"}, {.body = "{}", .send_at = 0.05}};
  const auto outcome = run_load(*resolve_endpoint(server.url()), requests, {});
  EXPECT_TRUE(outcome->results[0].ok);
  EXPECT_EQ(outcome->results[1].error, "HTTP 400: oops");
  EXPECT_TRUE(outcome->results[2].ok);
  EXPECT_GE(outcome->results[2].start, 0.05);

  auto nowhere = *resolve_endpoint("http://127.0.0.1:1");
  const auto refused = run_load(nowhere, requests, {});
  EXPECT_FALSE(refused->results[0].ok);
  EXPECT_NE(refused->results[0].error, "");
}

TEST(Endpoint, UnderstandsUrls) {
  const auto e = resolve_endpoint("127.0.0.1:8000/a/");
  EXPECT_EQ(e->host_header, "127.0.0.1:8000");
  EXPECT_EQ(e->prefix, "/a");
  EXPECT_EQ(resolve_endpoint("http://[::1]:80")->host_header, "[::1]:80");
  EXPECT_EQ(resolve_endpoint("https://x").status().code(), StatusCode::kUnimplemented);
  EXPECT_FALSE(resolve_endpoint("http://:80").ok());
}

TEST(Workload, RandomPromptsKeepTheirBoundsAndRepeatWithTheSeed) {
  const RandomDataset spec{.num_prompts = 200,
                           .input_len = 100,
                           .output_len = 10,
                           .prefix_len = 7,
                           .input_ratio = 0.5,
                           .output_ratio = 0.9,
                           .seed = 3};
  const auto prompts = make_random_prompts(spec, 50);
  std::set<size_t> lengths;
  for (const Prompt& p : prompts) {
    EXPECT_EQ(p.ids.size(), static_cast<size_t>(p.input_len));
    EXPECT_GE(p.input_len, 57);
    EXPECT_LE(p.input_len, 157);
    EXPECT_GE(p.output_len, 1);
    EXPECT_LE(p.output_len, 19);
    EXPECT_TRUE(std::equal(p.ids.begin(), p.ids.begin() + 7, prompts[0].ids.begin()));
    for (const TokenId id : p.ids) EXPECT_TRUE(id >= 0 && id < 50);
    lengths.insert(p.ids.size());
  }
  EXPECT_GT(lengths.size(), 50u);
  EXPECT_EQ(make_random_prompts(spec, 50)[199].ids, prompts[199].ids);
  const auto fixed =
      make_random_prompts({.num_prompts = 3, .input_len = 8, .special_tokens = 2}, 100);
  EXPECT_EQ(fixed[2].input_len, 6);
  EXPECT_EQ(fixed[2].output_len, 128);
}

TEST(Workload, ArrivalsEndAtCountOverRate) {
  for (const double burstiness : {0.3, 1.0, 10.0, std::numeric_limits<double>::infinity()}) {
    const auto times = arrival_times(500, 20, burstiness, 1);
    EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
    EXPECT_NEAR(times.back(), 25, 1e-9);
  }
  EXPECT_EQ(arrival_times(3, std::numeric_limits<double>::infinity(), 1, 1),
            (std::vector<double>{0, 0, 0}));
}

TEST(Workload, RangeRatioIsANumberOrAPair) {
  RandomDataset spec;
  EXPECT_TRUE(parse_range_ratio("0.25", spec).ok());
  EXPECT_EQ(spec.output_ratio, 0.25);
  EXPECT_TRUE(parse_range_ratio(R"({"input": 0.5, "output": 0})", spec).ok());
  EXPECT_EQ(spec.input_ratio, 0.5);
  for (const char* bad : {"1", "-0.1", "x", "{\"input\": 0.5}"})
    EXPECT_FALSE(parse_range_ratio(bad, spec).ok());
}

TEST(Workload, CustomFilesAreReadLineByLine) {
  const auto path =
      std::filesystem::temp_directory_path() / ("octavo_bench_" + std::to_string(getpid()));
  std::ofstream(path)
      << "{\"prompt\": \"a\", \"output_tokens\": 5}\n\n{\"prompt\": \"b\"}\n{\"prompt\": \"c\"}\n";
  const auto prompts = read_custom_dataset(path.string(), 2, 0);
  ASSERT_TRUE(prompts.ok());
  ASSERT_EQ(prompts->size(), 2u);
  EXPECT_EQ((*prompts)[0].output_len, 5);
  EXPECT_EQ((*prompts)[1].output_len, 256);
  std::ofstream(path) << "{\"text\": 1}\n";
  EXPECT_FALSE(read_custom_dataset(path.string(), 2, 0).ok());
  std::filesystem::remove(path);
}

TEST(Metrics, DistributionsAreNumpys) {
  const Distribution d = describe({4, 1, 3, 2}, {25, 99});
  EXPECT_DOUBLE_EQ(d.mean, 2.5);
  EXPECT_DOUBLE_EQ(d.median, 2.5);
  EXPECT_DOUBLE_EQ(d.std, std::sqrt(1.25));
  EXPECT_DOUBLE_EQ(d.percentiles[0].second, 1.75);
  EXPECT_DOUBLE_EQ(d.percentiles[1].second, 3.97);
  EXPECT_EQ(describe({}, {99}).mean, 0);
}

LoadOutcome two_requests() {
  LoadOutcome outcome;
  outcome.duration = 2;
  outcome.results.resize(3);
  outcome.results[0] = {
      .ok = true, .start = 0, .ttft = 0.1, .latency = 0.5, .itl = {0.2f, 0.2f}, .output_tokens = 3};
  outcome.results[1] = {.ok = true, .start = 0.4, .ttft = 0.2, .latency = 0.2, .output_tokens = 1};
  outcome.results[2].error = "broken";
  return outcome;
}

TEST(Metrics, FollowVllmsDefinitions) {
  const std::vector<Prompt> prompts(3, Prompt{.input_len = 10});
  Goodput goodput;
  ASSERT_TRUE(parse_goodput({"ttft:150", "e2el:1000"}, goodput).ok());
  EXPECT_FALSE(parse_goodput({"itl:3"}, goodput).ok());
  const ServeMetrics m = compute_metrics(prompts, two_requests(), {99}, goodput);
  EXPECT_EQ(m.completed, 2);
  EXPECT_EQ(m.failed, 1);
  EXPECT_EQ(m.total_input, 20);
  EXPECT_EQ(m.total_output, 4);
  EXPECT_DOUBLE_EQ(m.request_throughput, 1);
  EXPECT_DOUBLE_EQ(*m.request_goodput, 0.5);
  EXPECT_DOUBLE_EQ(m.total_token_throughput, 12);
  EXPECT_NEAR(m.ttft.mean, 150, 1e-9);
  EXPECT_NEAR(m.tpot.mean, 200, 1e-9);  // only the request of more than one token
  EXPECT_NEAR(m.itl.median, 200, 1e-4);
  EXPECT_DOUBLE_EQ(m.max_output_tokens_per_s, 4);
  EXPECT_EQ(m.max_concurrent_requests, 2);
}

TEST(Report, LooksLikeVllms) {
  const std::vector<Prompt> prompts(3, Prompt{.input_len = 10});
  const LoadOutcome outcome = two_requests();
  const ServeMetrics m = compute_metrics(prompts, outcome, {50, 99.9}, {});
  ServeRun run{.backend = "openai", .model = "org/m", .date = "20260102-030405", .num_prompts = 3};
  run.max_concurrency = 4;
  const std::string table = serve_table(run, m);
  EXPECT_NE(table.find("============ Serving Benchmark Result ============\n"
                       "Successful requests:                     2         \n"
                       "Failed requests:                         1         \n"
                       "Maximum request concurrency:             4         \n"
                       "Benchmark duration (s):                  2.00      \n"),
            std::string::npos)
      << table;
  EXPECT_NE(table.find("---------------Time to First Token----------------\n"
                       "Mean TTFT (ms):                          150.00    \n"),
            std::string::npos)
      << table;
  EXPECT_NE(table.find("P99.9 ITL (ms): "), std::string::npos);
  EXPECT_EQ(table.find("E2EL"), std::string::npos);

  const auto json = parse_json(serve_json(run, m, prompts, &outcome));
  ASSERT_TRUE(json.ok());
  for (const char* key :
       {"date", "backend", "model_id", "num_prompts", "request_rate", "burstiness", "duration",
        "completed", "total_input_tokens", "request_throughput", "output_throughput", "ttfts",
        "itls", "errors", "mean_ttft_ms", "std_tpot_ms", "p99.9_itl_ms"}) {
    EXPECT_NE(json->find(key), nullptr) << key;
  }
  EXPECT_EQ(json->find("request_rate")->as_string(), "inf");
  EXPECT_EQ(default_result_name(run), "openai-infqps-concurrency4-m-20260102-030405.json");
}

}  // namespace
}  // namespace octavo::bench
