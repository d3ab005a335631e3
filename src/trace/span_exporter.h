// SpanExporter: sends spans to a collector, by OTLP over HTTP, in batches, on a thread of its own.
// Whoever ends a span only pushes it onto a bounded queue; what finds no room there is dropped and
// counted. A collector that is slow, dead or wrong costs spans, a log line a minute, and nothing
// else.
//
// Concurrency: submit() and metrics_text() from any thread. The queue is guarded by one mutex; the
// connection belongs to the thread `octavo-traces`.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/metrics.h"
#include "trace/span.h"
#include "trace/trace_options.h"

namespace octavo::trace {

class SpanExporter {
 public:
  explicit SpanExporter(ExporterOptions options);
  ~SpanExporter();  // close()

  // Any thread; never blocks on the collector.
  void submit(Span span);
  // Sends what waits for at most kCloseSeconds (and as long as a name server takes to answer),
  // drops the rest, and joins the thread. What is submitted later is dropped. Idempotent; one
  // thread.
  void close();
  static constexpr double kCloseSeconds = 3;

  // Prometheus text: octavo:trace_spans_exported_total and octavo:trace_spans_dropped_total.
  std::string metrics_text() const { return registry_.text(); }

 private:
  struct Attempt {
    enum class Outcome { kTaken, kRefused, kTryAgain };
    Outcome outcome = Outcome::kTryAgain;
    int64_t rejected = 0;  // spans of a request that was taken
    double pause = 0;      // seconds that the collector asks for before the next attempt
  };

  void run();
  std::vector<Span> take_batch();
  void send(const std::vector<Span>& batch);
  Attempt post(const std::string& body);
  Attempt read_answer(const http::Answer& answer);
  void set_deadline(double seconds);
  bool sleep(double seconds);  // false: closing
  void complain(const std::string& reason);

  const ExporterOptions options_;
  MetricsRegistry registry_;
  Counter& exported_;
  Counter& dropped_full_;    // the queue was full, or closed
  Counter& dropped_failed_;  // the collector did not take them

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Span> queue_;     // guarded
  bool closing_ = false;       // guarded
  double close_deadline_ = 0;  // guarded; steady clock

  // A timer: once it has run off, waits of the connection end.
  int deadline_fd_ = -1;
  double last_complaint_ = -1e9;  // octavo-traces only
  std::thread thread_;
};

}  // namespace octavo::trace
