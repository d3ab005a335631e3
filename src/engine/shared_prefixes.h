// Which decode rows of a step begin with the same cached blocks, as requests with one system prompt
// do. Pure function of the plan's block tables; worker thread.
#pragma once

#include <vector>

#include "engine/batch_plan.h"

namespace octavo {

struct SharedPrefix {
  int tokens = 0;             // a multiple of the block size
  std::vector<int32_t> rows;  // of the plan
};

// At most `most` groups among the first `decode_rows` rows, the ones that save most first: groups
// of rows with a common first block, as far as all of a group agree. None that would save the
// reading of fewer than some 30,000 cached tokens, which is what a pass of its own costs.
std::vector<SharedPrefix> find_shared_prefixes(const BatchPlan& plan, size_t cache_group,
                                               int decode_rows, int block_size, int most);

}  // namespace octavo
