// DownloadView: how far a download is, on standard error: a bar on a terminal, otherwise a line now
// and then. Main thread.
#pragma once

#include <string>

#include "hub/download.h"

namespace octavo::cli {

// "13.2 GB", "640 kB"; powers of 1000.
std::string byte_count(double bytes);

class DownloadView {
 public:
  explicit DownloadView(std::string name);
  void show(const hub::DownloadProgress& progress);
  // The last line; nothing where nothing had to be fetched.
  void finish(bool ok);

 private:
  std::string line(const hub::DownloadProgress& progress, double now) const;

  const std::string name_;
  const bool terminal_;
  const double begin_;
  double last_ = 0;
  bool shown_ = false;
  int64_t bytes_at_begin_ = -1;  // there before; they do not count for the rate
  hub::DownloadProgress latest_;
};

}  // namespace octavo::cli
