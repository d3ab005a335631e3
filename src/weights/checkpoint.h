// Checkpoint: the tensors of a model directory by name, whether they lie in one safetensors file or
// in the shards that an index names. Used by the loader; immutable once open.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "weights/safetensors.h"

namespace octavo {

struct CheckpointTensor {
  const SafetensorsFile* file = nullptr;
  const SafetensorsEntry* entry = nullptr;
};

class Checkpoint {
 public:
  // Opens model.safetensors, or else every shard of model.safetensors.index.json. An index may name
  // only files of its own directory, and each must hold what the index says.
  static StatusOr<Checkpoint> open(const std::filesystem::path& directory);

  const CheckpointTensor* find(const std::string& name) const {
    const auto it = tensors_.find(name);
    return it == tensors_.end() ? nullptr : &it->second;
  }
  const std::map<std::string, CheckpointTensor>& tensors() const { return tensors_; }
  // What to call it in errors: the file, or the index.
  const std::string& name() const { return name_; }
  uint64_t bytes() const;

 private:
  Status add_file(const std::filesystem::path& path);
  Status add_shards(const std::filesystem::path& index);

  std::string name_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, CheckpointTensor> tensors_;
};

}  // namespace octavo
