// The paged KV cache on the CPU, and the two ops over it (ops/attention.h). Called by CpuBackend on
// the worker thread; both ops spread over the pool.
//
// Layout. A cell holds one block of one layer and one KV head; cells lie in the order
// [layer][block][KV head]. A cell is a run of sub-blocks of 16 tokens, each
//   K  [head_dim][16 tokens]          so that 16 scores are one chain of multiply-adds over
//   head_dim V  [16 tokens][value_stride]      head_dim rounded up to 16, the rest zero
// in the cache's dtype. All of it lies in one arena, whose untouched pages cost nothing and read as
// zero.
#pragma once

#include <cstddef>
#include <memory>

#include "backend/cpu/isa.h"
#include "backend/cpu/thread_pool.h"
#include "ops/attention.h"

namespace octavo::cpu {

// Throws std::bad_alloc when the address space has no room for the arena.
std::unique_ptr<KvCache> make_cpu_kv_cache(const KvCacheSpec& spec);
size_t kv_block_bytes(const KvCacheSpec& spec);

void rope_and_cache(Isa isa, ThreadPool& pool, const RopeAndCacheArgs& args);
void attention(Isa isa, ThreadPool& pool, const AttentionArgs& args);

}  // namespace octavo::cpu
