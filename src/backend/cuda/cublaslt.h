// cuBLASLt, opened while the program runs and only if it is asked for: the library is 542 MB, and
// the program neither links it nor needs it to start.
#pragma once

#include <cstddef>
#include <memory>

#include "backend/cuda/launch.h"
#include "backend/cuda/linear_call.h"
#include "octavo/status.h"

namespace octavo::cuda {

// Any thread, several at once. Belongs to the device that was current in open().
//
// Which of the library's kernels serves a shape is its own first guess, asked for once per shape
// (m rounded up) or found by tune(). The answers are kept in a file of the cache folder
// ($OCTAVO_CACHE_DIR, $XDG_CACHE_HOME/octavo or ~/.cache/octavo), named by GPU and library version;
// it is read by open() and written by tune() and the destructor.
class CublasLt {
 public:
  // Loads libcublasLt.so.13: hundreds of milliseconds.
  static StatusOr<std::unique_ptr<CublasLt>> open();
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  // What the workspace of run() and tune() should hold; with less, fewer kernels are possible.
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;

  // Plain products, with a residual unless out is float32, with a bias only if out is float32: the
  // library wants the bias in out's type.
  static bool takes(const LinearCall& call);
  // REQUIRES: takes(call). Can be captured; run a shape once before, since the library loads its
  // kernels when they are first used. Calls that overlap in time need a workspace each.
  void run(const Launch& on, const LinearCall& call, void* workspace, size_t bytes);
  // Runs the first eight proposals for this shape many times on `on` (so `out` must not be
  // `residual`) and keeps the fastest for run(). Waits for the stream.
  // REQUIRES: takes(call), no capture under way.
  Status tune(const Launch& on, const LinearCall& call, void* workspace, size_t bytes);

 private:
  struct State;
  explicit CublasLt(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace octavo::cuda
