// download(): a model by its name into the cache, only the files that serving it needs, four at a
// time. Blocks; any thread.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "hub/cache.h"
#include "hub/remote.h"
#include "octavo/status.h"

namespace octavo::hub {

struct DownloadProgress {
  int64_t bytes = 0;  // that are there, from earlier attempts too
  int64_t total_bytes = 0;
  int files = 0;
  int total_files = 0;
};

// The snapshot's folder, whole. `on_progress` is called about ten times a second while bytes come,
// and at the end, from the calling thread.
StatusOr<std::filesystem::path> download(
    const Remote& remote, const HubCache& cache, const std::string& model,
    const std::string& revision, Wanted wanted,
    const std::function<void(const DownloadProgress&)>& on_progress);

// What to fetch of a repository's files: config, tokenizer, chat template and, where everything is
// wanted, the index of the weights. Never weights in other formats.
std::vector<std::string> choose_small_files(const std::vector<std::string>& files, Wanted wanted);

}  // namespace octavo::hub
