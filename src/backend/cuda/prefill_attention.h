// Attention of prefill rows over the paged KV cache: rows with many query tokens each, the last of
// their sequences' positions (ops/attention.h is the specification). For every head_dim that is a
// multiple of 16 up to 256, bf16 and f16, any group of query heads, with or without a window.
//
// Batch-invariant as it stands: keys are taken in tiles that begin at multiples of the tile's size
// from position 0, in a fixed order, and a tile that is wholly masked for a token leaves that
// token's sums as they were, bit by bit. So a token's result depends neither on the chunk it came
// in nor on the rows beside it.
#pragma once

#include <cstddef>

#include "backend/cuda/attention_call.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/paged.h"

namespace octavo::cuda {

bool prefill_attention_takes(const PagedLayer& layer, int num_q_heads);

// Enough for any step of at most max_rows rows and max_tokens tokens.
size_t prefill_attention_workspace_bytes(const PagedLayer& layer, int num_q_heads, int max_rows,
                                         int max_tokens);

// The plan of a step: depends on the rows and the layer's geometry and window only, so that layers
// of one kind can share it. Writes the workspace.
void plan_prefill_attention(const Launch& on, const PagedLayer& layer, int num_q_heads,
                            const PagedRows& rows, void* workspace);
// Serves the rows [num_decode_rows, num_rows) and writes no other token's output. The workspace
// holds the plan of the same rows; any number of calls may follow each other on the stream.
// REQUIRES: prefill_attention_takes(layer, call.num_q_heads); q, out, keys and values 16-byte
// aligned.
void planned_prefill_attention(const Launch& on, const PagedLayer& layer, const PagedRows& rows,
                               const AttentionCall& call, void* workspace);

// Both in one: two kernels on the stream, no synchronisation; the host needs to know counts only,
// never a row's length. The workspace is 16-byte aligned and needs no preparation.
void prefill_attention(const Launch& on, const PagedLayer& layer, const PagedRows& rows,
                       const AttentionCall& call, void* workspace);

// The same for all rows [0, num_rows): a decode token's result is bitwise that of the same token in
// a prefill row. For batch-invariant mode; slower for decode rows than a kernel of their own.
void invariant_attention(const Launch& on, const PagedLayer& layer, const PagedRows& rows,
                         const AttentionCall& call, void* workspace);

}  // namespace octavo::cuda
