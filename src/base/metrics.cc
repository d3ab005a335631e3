#include "base/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/check.h"

namespace octavo {

namespace {

constexpr int kCounter = 0, kGauge = 1, kHistogram = 2;
constexpr std::string_view kTypeNames[] = {"counter", "gauge", "histogram"};

void append_number(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value > 0 ? "+Inf" : "-Inf";
  } else {
    char buffer[40];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
    const std::string_view text(buffer, end - buffer);
    out += text;
    // Prometheus clients in Python write 1 as 1.0; scripts that compare texts expect it.
    if (text.find_first_of(".e") == std::string_view::npos) out += ".0";
  }
}

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

// `a="x",b="y"` without the braces.
std::string label_text(const MetricLabels& labels) {
  std::string out;
  for (const auto& [name, value] : labels) {
    if (!out.empty()) out += ',';
    out += name;
    out += "=\"";
    append_escaped(out, value, true);
    out += '"';
  }
  return out;
}

void append_sample(std::string& out, std::string_view name, std::string_view suffix,
                   std::string_view labels, std::string_view more, double value) {
  out += name;
  out += suffix;
  if (!labels.empty() || !more.empty()) {
    out += '{';
    out += labels;
    if (!labels.empty() && !more.empty()) out += ',';
    out += more;
    out += '}';
  }
  out += ' ';
  append_number(out, value);
  out += '\n';
}

}  // namespace

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)), counts_(new std::atomic<uint64_t>[bounds_.size() + 1]()) {
  CHECK(std::is_sorted(bounds_.begin(), bounds_.end()));
}

void Histogram::observe(double value, uint64_t times) {
  const size_t i = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[i].fetch_add(times, std::memory_order_relaxed);
  sum_.fetch_add(value * static_cast<double>(times), std::memory_order_relaxed);
}

struct MetricsRegistry::Family {
  struct Member {
    std::string labels;
    std::unique_ptr<Counter> counter;
    std::unique_ptr<Gauge> gauge;
    std::unique_ptr<Histogram> histogram;
  };

  std::string name;
  std::string help;
  int kind = kCounter;
  std::map<std::string, size_t> index;  // label text -> place in members
  std::vector<Member> members;

  Member& member(const MetricLabels& labels) {
    std::string text = label_text(labels);
    const auto [it, inserted] = index.try_emplace(text, members.size());
    if (inserted) members.push_back({.labels = std::move(text)});
    return members[it->second];
  }

  void append(std::string& out) const;
};

void MetricsRegistry::Family::append(std::string& out) const {
  out += "# HELP ";
  out += name;
  out += ' ';
  append_escaped(out, help, false);
  out += "\n# TYPE ";
  out += name;
  out += ' ';
  out += kTypeNames[kind];
  out += '\n';
  for (const Member& m : members) {
    if (m.counter) append_sample(out, name, "", m.labels, "", m.counter->value());
    if (m.gauge) append_sample(out, name, "", m.labels, "", m.gauge->value());
    if (!m.histogram) continue;
    // _count is the sum of the buckets just read, so that one text agrees with itself under
    // writers.
    const std::vector<double>& bounds = m.histogram->bounds();
    uint64_t total = 0;
    for (size_t i = 0; i <= bounds.size(); ++i) {
      total += m.histogram->bucket(i);
      std::string le = "le=\"";
      append_number(le, i < bounds.size() ? bounds[i] : INFINITY);
      le += '"';
      append_sample(out, name, "_bucket", m.labels, le, static_cast<double>(total));
    }
    append_sample(out, name, "_count", m.labels, "", static_cast<double>(total));
    append_sample(out, name, "_sum", m.labels, "", m.histogram->sum());
  }
}

MetricsRegistry::MetricsRegistry() = default;
MetricsRegistry::~MetricsRegistry() = default;

MetricsRegistry::Family& MetricsRegistry::family(std::string_view name, std::string_view help,
                                                 int kind) {
  for (const auto& f : families_) {
    if (f->name != name) continue;
    CHECK(f->kind == kind);
    return *f;
  }
  families_.push_back(std::make_unique<Family>());
  Family& f = *families_.back();
  f.name = name;
  f.help = help;
  f.kind = kind;
  return f;
}

Counter& MetricsRegistry::counter(std::string_view name, std::string_view help,
                                  const MetricLabels& labels) {
  const std::lock_guard lock(mutex_);
  auto& metric = family(name, help, kCounter).member(labels).counter;
  if (!metric) metric = std::make_unique<Counter>();
  return *metric;
}

Gauge& MetricsRegistry::gauge(std::string_view name, std::string_view help,
                              const MetricLabels& labels) {
  const std::lock_guard lock(mutex_);
  auto& metric = family(name, help, kGauge).member(labels).gauge;
  if (!metric) metric = std::make_unique<Gauge>();
  return *metric;
}

Histogram& MetricsRegistry::histogram(std::string_view name, std::string_view help,
                                      const std::vector<double>& buckets,
                                      const MetricLabels& labels) {
  const std::lock_guard lock(mutex_);
  Family& f = family(name, help, kHistogram);
  auto& metric = f.member(labels).histogram;
  if (!metric) {
    const auto& first = f.members.front().histogram;
    metric = std::make_unique<Histogram>(first ? first->bounds() : buckets);
  }
  return *metric;
}

std::string MetricsRegistry::text() const {
  const std::lock_guard lock(mutex_);
  std::string out;
  for (const auto& f : families_) f->append(out);
  return out;
}

}  // namespace octavo
