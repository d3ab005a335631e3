// Fills a model's parameters from a checkpoint, or with dummy values. Called once, at load, from
// the worker thread; uses `threads` threads of its own meanwhile.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "models/model.h"
#include "octavo/status.h"

namespace octavo {

struct LoadReport {
  int64_t num_parameters = 0;  // elements
  int64_t file_bytes = 0;
  double seconds = 0;
};

// Reads model.safetensors, or the shards that model.safetensors.index.json names. Missing, extra
// and misshapen tensors are errors that name them, as is a value that is not finite. Mapped pages
// are dropped as they are consumed: the process never holds a weight twice.
StatusOr<LoadReport> load_safetensors(const std::filesystem::path& directory, Model& model,
                                      int threads);

// Seeded random weights, uniform in ±1e-3 (norms 1, biases 0), without any file; the same values
// for the same seed and parameter name whatever the number of threads.
StatusOr<LoadReport> load_dummy(Model& model, uint64_t seed, int threads);

}  // namespace octavo
