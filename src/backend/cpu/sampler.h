// The sampler of ops/sampler.h on the CPU. Rows of one call are spread over the pool, one row a
// task, so a row's arithmetic is the same in every batch.
#pragma once

#include <memory>

#include "backend/cpu/isa.h"
#include "backend/cpu/thread_pool.h"
#include "ops/sampler.h"

namespace octavo::cpu {

// `pool` must outlive the sampler.
std::unique_ptr<Sampler> make_cpu_sampler(Isa isa, ThreadPool& pool, const SamplerSpec& spec);

}  // namespace octavo::cpu
