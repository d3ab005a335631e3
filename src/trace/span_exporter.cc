#include "trace/span_exporter.h"

#include <pthread.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <iterator>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "trace/otlp.h"

namespace octavo::trace {
namespace {

// Seconds between the attempts to send one batch.
constexpr double kPauses[] = {1, 2, 4, 8, 16};
constexpr double kLongestPause = 30;  // whatever Retry-After says
constexpr double kSecondsBetweenComplaints = 60;
constexpr size_t kMaxAnswerBytes = 64 << 10;

Counter& dropped(MetricsRegistry& registry, const char* reason) {
  return registry.counter("octavo:trace_spans_dropped_total",
                          "Number of spans that did not reach the collector.",
                          {{"reason", reason}});
}

// For the log: a query may hold a key.
std::string shown(const http::Url& url) {
  const std::string whole = url.to_string();
  return whole.substr(0, whole.find('?'));
}

// Whether the same request may succeed later, by OTLP's list.
bool is_transient(int status) {
  return status == 429 || status == 502 || status == 503 || status == 504;
}

}  // namespace

SpanExporter::SpanExporter(ExporterOptions options)
    : options_(std::move(options)),
      exported_(registry_.counter("octavo:trace_spans_exported_total",
                                  "Number of spans that the collector has taken.")),
      dropped_full_(dropped(registry_, "queue_full")),
      dropped_failed_(dropped(registry_, "export_failed")),
      deadline_fd_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
  CHECK(deadline_fd_ >= 0);
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "octavo-traces");
  log_info("traces", "spans go to " + shown(options_.url));
}

SpanExporter::~SpanExporter() {
  close();
  ::close(deadline_fd_);
}

void SpanExporter::submit(Span span) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (closing_ || queue_.size() >= options_.max_queue) return dropped_full_.add();
    queue_.push_back(std::move(span));
    // The thread sleeps without a limit on an empty queue, and until a batch is full on another.
    wake = queue_.size() == 1 || queue_.size() == options_.max_batch;
  }
  if (wake) changed_.notify_one();
}

void SpanExporter::close() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    close_deadline_ = steady_seconds() + kCloseSeconds;
  }
  set_deadline(options_.timeout_seconds);  // an attempt under way gets no longer than the rest
  changed_.notify_one();
  thread_.join();
}

void SpanExporter::run() {
  for (std::vector<Span> batch; !(batch = take_batch()).empty();) send(batch);
}

// Empty once there is nothing more to do.
std::vector<Span> SpanExporter::take_batch() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return closing_ || !queue_.empty(); });
  changed_.wait_for(lock, std::chrono::duration<double>(options_.delay_seconds),
                    [this] { return closing_ || queue_.size() >= options_.max_batch; });
  const auto size = static_cast<ptrdiff_t>(std::min(queue_.size(), options_.max_batch));
  std::vector<Span> batch(std::make_move_iterator(queue_.begin()),
                          std::make_move_iterator(queue_.begin() + size));
  queue_.erase(queue_.begin(), queue_.begin() + size);
  return batch;
}

void SpanExporter::send(const std::vector<Span>& batch) {
  using Outcome = Attempt::Outcome;
  const std::string body = encode_export_request(options_.resource, batch);
  const auto spans = static_cast<int64_t>(batch.size());
  Attempt attempt = post(body);
  for (const double pause : kPauses) {
    if (attempt.outcome != Outcome::kTryAgain) break;
    if (!sleep(std::min(std::max(pause, attempt.pause), kLongestPause))) break;
    attempt = post(body);
  }
  const bool taken = attempt.outcome == Outcome::kTaken;
  const int64_t lost = taken ? std::clamp<int64_t>(attempt.rejected, 0, spans) : spans;
  dropped_failed_.add(static_cast<double>(lost));
  exported_.add(static_cast<double>(spans - lost));
}

SpanExporter::Attempt SpanExporter::post(const std::string& body) {
  http::Request request{
      .method = "POST", .url = options_.url, .headers = options_.headers, .body = body};
  request.headers.emplace_back("Content-Type", "application/x-protobuf");
  request.headers.emplace_back("User-Agent", "octavo/" OCTAVO_VERSION);
  set_deadline(options_.timeout_seconds);
  const http::Limits limits{.connect_seconds = options_.timeout_seconds,
                            .silence_seconds = options_.timeout_seconds,
                            .wake_fd = deadline_fd_};
  const auto answer = http::fetch_whole(request, limits, kMaxAnswerBytes);
  if (answer.ok()) return read_answer(*answer);
  const bool late = answer.status().code() == StatusCode::kCancelled;
  complain(late ? options_.url.authority() + ": no answer in time" : answer.status().message());
  return {};
}

SpanExporter::Attempt SpanExporter::read_answer(const http::Answer& answer) {
  const int status = answer.head.status;
  if (status / 100 == 2) {
    const PartialSuccess partial = decode_export_response(answer.body);
    if (partial.rejected_spans > 0) {
      complain(options_.url.authority() + " rejected spans: " + partial.message);
    }
    return {.outcome = Attempt::Outcome::kTaken, .rejected = partial.rejected_spans};
  }
  complain(shown(options_.url) + " answered with status " + std::to_string(status));
  if (!is_transient(status)) return {.outcome = Attempt::Outcome::kRefused};
  Attempt again;
  if (const std::string* after = answer.head.find("retry-after")) {
    // Seconds; a date is not read, and the pauses of our own are as good.
    std::from_chars(after->data(), after->data() + after->size(), again.pause);
    if (!std::isfinite(again.pause)) again.pause = 0;
  }
  return again;
}

// Waits of the connection end `seconds` from now, or when closing has taken long enough. Two
// threads set it: the later call counts, and each keeps to close_deadline_.
void SpanExporter::set_deadline(double seconds) {
  const std::lock_guard lock(mutex_);
  const double now = steady_seconds();
  double when = now + seconds;
  if (closing_) when = std::min(when, close_deadline_);
  when = std::max(when, now + 1e-6);  // a time of 0 would switch the timer off
  double whole = 0;
  const double fraction = std::modf(when, &whole);
  itimerspec timer{};
  timer.it_value.tv_sec = static_cast<time_t>(whole);
  timer.it_value.tv_nsec = static_cast<long>(fraction * 1e9);
  timerfd_settime(deadline_fd_, TFD_TIMER_ABSTIME, &timer, nullptr);
}

bool SpanExporter::sleep(double seconds) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, std::chrono::duration<double>(seconds),
                            [this] { return closing_; });
}

void SpanExporter::complain(const std::string& reason) {
  const double now = steady_seconds();
  if (now - last_complaint_ < kSecondsBetweenComplaints) return;
  last_complaint_ = now;
  const double lost = dropped_failed_.value() + dropped_full_.value();
  log_warning("traces", reason + " (" + std::to_string(static_cast<int64_t>(lost)) +
                            " spans lost so far; told at most once a minute)");
}

}  // namespace octavo::trace
