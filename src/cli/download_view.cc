#include "cli/download_view.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/clock.h"

namespace octavo::cli {
namespace {

constexpr double kSecondsBetweenLines = 10;
constexpr size_t kBarWidth = 24;

}  // namespace

std::string byte_count(double bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  for (; bytes >= 999.5 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1000;
  char text[32];
  std::snprintf(text, sizeof text, bytes < 9.95 && unit > 0 ? "%.1f %s" : "%.0f %s", bytes,
                kUnits[unit]);
  return text;
}

DownloadView::DownloadView(std::string name)
    : name_(std::move(name)), terminal_(isatty(STDERR_FILENO) != 0), begin_(steady_seconds()) {}

std::string DownloadView::line(const hub::DownloadProgress& p, double now) const {
  std::string text = byte_count(static_cast<double>(p.bytes)) + " of " +
                     byte_count(static_cast<double>(p.total_bytes));
  const double rate = static_cast<double>(p.bytes - bytes_at_begin_) / std::max(now - begin_, 1e-3);
  if (rate > 0) {
    text += ", " + byte_count(rate) + "/s";
    const double left = static_cast<double>(p.total_bytes - p.bytes) / rate;
    if (left >= 1 && left < 1e6) text += ", " + std::to_string(static_cast<int>(left)) + " s left";
  }
  return text;
}

void DownloadView::show(const hub::DownloadProgress& progress) {
  const double now = steady_seconds();
  latest_ = progress;
  if (bytes_at_begin_ < 0) bytes_at_begin_ = progress.bytes;
  if (progress.total_bytes == 0 || progress.bytes >= progress.total_bytes) return;
  if (!terminal_) {
    if (shown_ && now - last_ < kSecondsBetweenLines) return;
    std::fprintf(stderr, "octavo: fetching %s: %s\n", name_.c_str(), line(progress, now).c_str());
  } else {
    const auto share =
        static_cast<double>(progress.bytes) / static_cast<double>(progress.total_bytes);
    const auto filled = std::min(kBarWidth, static_cast<size_t>(share * kBarWidth));
    std::fprintf(stderr, "\r%s [%s%s] %s\x1b[K", name_.c_str(), std::string(filled, '#').c_str(),
                 std::string(kBarWidth - filled, '.').c_str(), line(progress, now).c_str());
  }
  shown_ = true;
  last_ = now;
}

void DownloadView::finish(bool ok) {
  if (terminal_ && shown_) std::fputs("\r\x1b[K", stderr);
  if (!ok) return;
  std::fprintf(stderr, "octavo: %s is here: %d files, %s, %.1f s\n", name_.c_str(),
               latest_.total_files, byte_count(static_cast<double>(latest_.total_bytes)).c_str(),
               steady_seconds() - begin_);
}

}  // namespace octavo::cli
