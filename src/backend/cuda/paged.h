// The paged KV cache and a step's rows as the attention kernels of this folder see them: plain
// pointers into device memory. ops/attention.h has the meaning.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace octavo::cuda {

// One layer of a cache group. Keys and values lie apart, each [num_blocks, num_kv_heads,
// block_size, head_dim]: the tokens of one block and one head follow each other.
struct PagedLayer {
  void* keys = nullptr;
  void* values = nullptr;
  DType dtype = DType::kBF16;  // kBF16 or kF16, that of the activations too
  int num_blocks = 0;
  int num_kv_heads = 0;
  int block_size = 0;  // a multiple of 16
  int head_dim = 0;    // a multiple of 16, up to 256
  int window = 0;      // 0: all positions
};

// All arrays are on the device. Rows [0, num_decode_rows) have one token each, the others may have
// more. A row with kv_len 0 is padding: its output is zeros, its tokens are not cached.
struct PagedRows {
  int num_rows = 0;
  int num_decode_rows = 0;
  int num_tokens = 0;
  // Of the rows behind num_decode_rows; 0 without such rows. max_kv_len is 0 where the host does
  // not know (a captured graph, whose rows grow from replay to replay); only decode steps are
  // captured.
  int max_query_len = 0;
  int max_kv_len = 0;
  const int32_t* row_begin = nullptr;     // [num_rows + 1]
  const int32_t* kv_len = nullptr;        // [num_rows]
  const int32_t* block_begin = nullptr;   // [num_rows + 1], into blocks
  const int32_t* blocks = nullptr;        // -1 where the window has passed
  const int32_t* positions = nullptr;     // [num_tokens]
  const int64_t* slot_mapping = nullptr;  // [num_tokens]; -1: not cached
};

}  // namespace octavo::cuda
