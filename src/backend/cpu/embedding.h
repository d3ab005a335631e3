// embedding and gather_rows on the CPU (ops/embedding.h).
#pragma once

#include "backend/cpu/thread_pool.h"
#include "ops/embedding.h"

namespace octavo::cpu {

void embedding(ThreadPool& pool, const EmbeddingArgs& args);
void gather_rows(ThreadPool& pool, const GatherRowsArgs& args);

}  // namespace octavo::cpu
