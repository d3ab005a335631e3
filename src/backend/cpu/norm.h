// rms_norm and layer_norm of ops/norm.h on the CPU, one task a few rows. Called by CpuBackend on
// the worker thread.
#pragma once

#include "backend/cpu/isa.h"
#include "backend/cpu/thread_pool.h"
#include "ops/norm.h"

namespace octavo::cpu {

void rms_norm(Isa isa, ThreadPool& pool, const RmsNormArgs& args);
void layer_norm(Isa isa, ThreadPool& pool, const LayerNormArgs& args);

}  // namespace octavo::cpu
