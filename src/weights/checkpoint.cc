// Checkpoint: see the header.
#include "weights/checkpoint.h"

#include <fstream>
#include <iterator>
#include <set>

#include "base/status_macros.h"
#include "octavo/value.h"

namespace octavo {
namespace {

constexpr uintmax_t kMaxIndexBytes = 100'000'000;

StatusOr<std::string> read_index(const std::filesystem::path& path) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return not_found("cannot read " + path.string() + ": " + error.message());
  if (size > kMaxIndexBytes) return data_loss(path.string() + ": larger than 100 MB");
  std::ifstream in(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in) return data_loss("cannot read all of " + path.string());
  return text;
}

// A plain file name: an index must not reach outside its directory.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string("/\\\0", 3)) == std::string::npos;
}

}  // namespace

uint64_t Checkpoint::bytes() const {
  uint64_t sum = 0;
  for (const auto& file : files_) sum += file->bytes();
  return sum;
}

Status Checkpoint::add_file(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsFile> file, SafetensorsFile::open(path));
  for (const SafetensorsEntry& entry : file->entries()) {
    const auto [it, added] = tensors_.try_emplace(entry.name, CheckpointTensor{file.get(), &entry});
    if (!added) {
      return data_loss("tensor '" + entry.name + "' is in both " + it->second.file->path() +
                       " and " + file->path());
    }
  }
  files_.push_back(std::move(file));
  return ok_status();
}

Status Checkpoint::add_shards(const std::filesystem::path& index) {
  ASSIGN_OR_RETURN(const std::string text, read_index(index));
  auto parsed = parse_json(text);
  if (!parsed.ok()) return data_loss(index.string() + ": " + parsed.status().message());
  const Value* map = parsed->find("weight_map");
  if (map == nullptr || !map->is_dict())
    return data_loss(index.string() + ": it has no weight_map");
  std::set<std::string> shards;
  for (const auto& [name, shard] : map->as_dict()) {
    if (!shard.is_string() || !is_plain_name(shard.as_string())) {
      return data_loss(index.string() + ": tensor '" + name + "': " + to_json(shard) +
                       " is no name of a file in the same directory");
    }
    shards.insert(shard.as_string());
  }
  for (const std::string& shard : shards) RETURN_IF_ERROR(add_file(index.parent_path() / shard));
  for (const auto& [name, shard] : map->as_dict()) {
    const CheckpointTensor* t = find(name);
    if (t == nullptr || std::filesystem::path(t->file->path()).filename() != shard.as_string()) {
      return data_loss(index.string() + ": tensor '" + name + "' is not in " + shard.as_string());
    }
  }
  return ok_status();
}

StatusOr<Checkpoint> Checkpoint::open(const std::filesystem::path& directory) {
  const auto single = directory / "model.safetensors";
  const auto index = directory / "model.safetensors.index.json";
  std::error_code error;
  Checkpoint checkpoint;
  if (std::filesystem::exists(single, error)) {
    checkpoint.name_ = single.string();
    RETURN_IF_ERROR(checkpoint.add_file(single));
    return checkpoint;
  }
  if (std::filesystem::exists(index, error)) {
    checkpoint.name_ = index.string();
    RETURN_IF_ERROR(checkpoint.add_shards(index));
    return checkpoint;
  }
  const std::string where = directory.string();
  return not_found(where +
                   ": no weights: neither model.safetensors nor model.safetensors.index.json "
                   "(pytorch_model.bin, GGUF and other formats are not supported)");
}

}  // namespace octavo
