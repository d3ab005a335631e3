// HubCache: the folder in which huggingface_hub keeps models, and octavo with it:
//
//   models--owner--name/blobs/<checksum>            a file's bytes; <checksum>.incomplete: some of
//   them
//                      /snapshots/<commit>/<file>   a link to ../../blobs/<checksum>
//                      /refs/<revision>             the commit that it meant
//   .locks/models--owner--name/<checksum>.lock      held (flock) by whoever fetches it
//
// A plain value; any thread. Model names and revisions must be checked (hub/names.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "octavo/status.h"

namespace octavo::hub {

enum class Wanted { kEverything, kAllButWeights };

struct CachedModel {
  std::string name;
  uint64_t bytes = 0;     // of all its blobs
  int64_t last_used = 0;  // Unix seconds of the last reading, as far as the file system knows
  bool whole = false;     // some snapshot can be served
};

class HubCache {
 public:
  explicit HubCache(std::filesystem::path root) : root_(std::move(root)) {}

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path repository(const std::string& model) const;
  std::filesystem::path lock_file(const std::string& model, const std::string& checksum) const;

  // The folder of the commit that `revision` meant last, or of the commit that it is. kNotFound.
  StatusOr<std::filesystem::path> find_snapshot(const std::string& model,
                                                const std::string& revision) const;
  // In order of their names.
  std::vector<CachedModel> list() const;

 private:
  std::filesystem::path root_;
};

// The shards that a model.safetensors.index.json names, each once; only plain names of files.
StatusOr<std::vector<std::string>> shards_of_index(const std::filesystem::path& index);
// Whether nothing that a model needs is missing from a snapshot.
bool is_whole(const std::filesystem::path& snapshot, Wanted wanted);

}  // namespace octavo::hub
