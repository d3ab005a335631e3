#include "hub/cache.h"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>

#include "base/status_macros.h"
#include "hub/names.h"
#include "octavo/value.h"

namespace octavo::hub {
namespace fs = std::filesystem;
namespace {

constexpr uintmax_t kMaxIndexBytes = 256 << 20;
constexpr std::string_view kPrefix = "models--";

std::string folder_name(const std::string& model) {
  std::string folder = std::string(kPrefix) + model;
  folder.replace(folder.find('/'), 1, "--");
  return folder;
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

bool has_weights(const fs::path& snapshot) {
  if (is_there(snapshot / "model.safetensors")) return true;
  const auto shards = shards_of_index(snapshot / "model.safetensors.index.json");
  return shards.ok() && std::all_of(shards->begin(), shards->end(), [&](const std::string& shard) {
           return is_there(snapshot / shard);
         });
}

// "models--owner--name" as "owner/name"; empty for anything else.
std::string model_of_folder(const std::string& folder) {
  if (folder.compare(0, kPrefix.size(), kPrefix) != 0) return "";
  std::string name = folder.substr(kPrefix.size());
  if (const size_t dashes = name.find("--"); dashes != std::string::npos)
    name.replace(dashes, 2, "/");
  return name;
}

CachedModel describe(const std::string& name, const fs::path& repository) {
  CachedModel model{.name = name};
  std::error_code ignored;
  for (const auto& blob : fs::directory_iterator(repository / "blobs", ignored)) {
    struct stat facts {};
    if (stat(blob.path().c_str(), &facts) != 0 || !S_ISREG(facts.st_mode)) continue;
    model.bytes += static_cast<uint64_t>(facts.st_size);
    model.last_used = std::max<int64_t>(model.last_used, facts.st_atime);
  }
  for (const auto& snapshot : fs::directory_iterator(repository / "snapshots", ignored))
    model.whole = model.whole || is_whole(snapshot.path(), Wanted::kEverything);
  return model;
}

}  // namespace

fs::path HubCache::repository(const std::string& model) const {
  return root_ / folder_name(model);
}

fs::path HubCache::lock_file(const std::string& model, const std::string& checksum) const {
  return root_ / ".locks" / folder_name(model) / (checksum + ".lock");
}

StatusOr<fs::path> HubCache::find_snapshot(const std::string& model,
                                           const std::string& revision) const {
  const fs::path repository = this->repository(model);
  if (!is_folder(repository)) return not_found("it is not in the cache");
  std::string commit;
  std::ifstream(repository / "refs" / revision) >> commit;
  if (commit.empty()) commit = revision;
  const fs::path snapshot = repository / "snapshots" / commit;
  // A commit is a folder's name; a ref that says anything else is damaged.
  if (!is_file_name(commit) || !is_folder(snapshot))
    return not_found("the cache has no revision '" + revision + "' of it");
  return snapshot;
}

std::vector<CachedModel> HubCache::list() const {
  std::vector<CachedModel> models;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(root_, ignored)) {
    const std::string name = model_of_folder(entry.path().filename().string());
    if (!name.empty() && is_folder(entry.path())) models.push_back(describe(name, entry.path()));
  }
  std::sort(models.begin(), models.end(),
            [](const CachedModel& a, const CachedModel& b) { return a.name < b.name; });
  return models;
}

StatusOr<std::vector<std::string>> shards_of_index(const fs::path& index) {
  std::error_code error;
  const uintmax_t size = fs::file_size(index, error);
  if (error) return not_found("no " + index.string());
  if (size > kMaxIndexBytes) return data_loss(index.string() + " is too long for an index");
  std::ifstream file(index, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  StatusOr<Value> parsed = parse_json(text);
  if (!parsed.ok()) return data_loss(index.string() + ": " + parsed.status().message());
  const Value* map = parsed->find("weight_map");
  if (map == nullptr || !map->is_dict() || map->as_dict().empty())
    return data_loss(index.string() + ": it has no weight_map");
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : map->as_dict()) {
    if (!shard.is_string() || !is_file_name(shard.as_string()))
      return data_loss(index.string() + ": tensor '" + tensor + "' lies in no plain file");
    shards.insert(shard.as_string());
  }
  return std::vector<std::string>(shards.begin(), shards.end());
}

bool is_whole(const fs::path& snapshot, Wanted wanted) {
  if (wanted == Wanted::kEverything)
    return is_there(snapshot / "config.json") && has_weights(snapshot);
  return is_there(snapshot / "config.json") || is_there(snapshot / "tokenizer.json") ||
         is_there(snapshot / "tokenizer_config.json");
}

}  // namespace octavo::hub
