// Metrics: counters, gauges and histograms, and their Prometheus text (exposition format 0.0.4).
// The engine and the HTTP server each own a registry; GET /metrics joins their texts.
//
// Concurrency: everything is thread-safe. Looking a metric up takes a lock, so callers keep the
// reference, which stays valid as long as the registry; add(), set() and observe() are a few
// relaxed atomics.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace octavo {

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

// Only grows. Exposed under the name given, which by custom ends in `_total`.
class Counter {
 public:
  void add(double amount = 1) { value_.fetch_add(amount, std::memory_order_relaxed); }
  // To a total that is counted elsewhere; a smaller one changes nothing.
  void raise_to(double total) {
    double value = value_.load(std::memory_order_relaxed);
    while (value < total &&
           !value_.compare_exchange_weak(value, total, std::memory_order_relaxed)) {
    }
  }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class Gauge {
 public:
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  void add(double amount) { value_.fetch_add(amount, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

// Counts observations by upper bound (inclusive). `+Inf` is added by itself.
class Histogram {
 public:
  // REQUIRES: `bounds` rise.
  explicit Histogram(std::vector<double> bounds);
  void observe(double value) { observe(value, 1); }
  // `times` observations of one value: cheaper than a loop when a step yields many equal ones.
  void observe(double value, uint64_t times);

  const std::vector<double>& bounds() const { return bounds_; }
  // Observations in bucket `i` alone (not cumulative); i == bounds().size() is `+Inf`.
  uint64_t bucket(size_t i) const { return counts_[i].load(std::memory_order_relaxed); }
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  std::vector<double> bounds_;
  std::unique_ptr<std::atomic<uint64_t>[]> counts_;
  std::atomic<double> sum_{0};
};

class MetricsRegistry {
 public:
  MetricsRegistry();
  ~MetricsRegistry();

  // The metric of that name and labels, made at the first call. Metrics of one name share HELP and
  // TYPE, and keep the kind and the buckets of the first call. REQUIRES: one name has one kind.
  Counter& counter(std::string_view name, std::string_view help, const MetricLabels& labels = {});
  Gauge& gauge(std::string_view name, std::string_view help, const MetricLabels& labels = {});
  Histogram& histogram(std::string_view name, std::string_view help,
                       const std::vector<double>& buckets, const MetricLabels& labels = {});

  // All metrics in the order they were made, each name once.
  std::string text() const;

 private:
  struct Family;
  Family& family(std::string_view name, std::string_view help, int kind);

  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Family>> families_;  // guarded by mutex_
};

}  // namespace octavo
