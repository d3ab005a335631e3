// The KV cache, and how the work of its two ops is cut into tasks for the pool. A task of attention
// is a few query tokens of one sequence under one KV head; threads take the next one from a
// counter, the longest first. What a task computes does not depend on how it was cut
// (attention_impl.h).
#include "backend/cpu/attention.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

#include "backend/cpu/attention_kernels.h"
#include "base/check.h"
#include "base/rounding.h"
#include "tensor/arena.h"

namespace octavo::cpu {
namespace {

KvElement element_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return KvElement::kF32;
    case DType::kBF16:
      return KvElement::kBF16;
    case DType::kF16:
      return KvElement::kF16;
    default:
      CHECK(false && "a KV cache of integers");
  }
}

KvView view_of(const KvCacheSpec& spec) {
  CHECK(spec.block_size > 0 && spec.block_size % kSubBlock == 0);
  CHECK(spec.head_dim > 0 && spec.head_dim % 8 == 0 && spec.head_dim <= kMaxHeadDim);
  KvView view;
  view.num_kv_heads = spec.num_kv_heads;
  view.block_size = spec.block_size;
  view.head_dim = spec.head_dim;
  view.value_stride = round_up(spec.head_dim, 16);
  view.element = element_of(spec.dtype);
  const auto element_bytes = static_cast<int64_t>(size_of(spec.dtype));
  view.value_offset = element_bytes * kSubBlock * view.head_dim;
  view.sub_block_bytes = view.value_offset + element_bytes * kSubBlock * view.value_stride;
  view.cell_bytes = view.sub_block_bytes * (spec.block_size / kSubBlock);
  return view;
}

class CpuKvCache final : public KvCache {
 public:
  explicit CpuKvCache(const KvCacheSpec& spec) : spec_(spec), view_(view_of(spec)) {
    auto arena = Arena::reserve(MemoryTag::kKvCache, kv_block_bytes(spec) * spec.num_blocks);
    if (!arena.ok()) throw std::bad_alloc();
    arena_ = std::move(arena).value();
  }

  const KvCacheSpec& spec() const override { return spec_; }
  size_t bytes() const override { return kv_block_bytes(spec_) * spec_.num_blocks; }

  void read(int layer, int64_t slot, int kv_head, float* k, float* v) const override {
    const KvView view = layer_view(layer);
    const int64_t block = slot / view.block_size, offset = slot % view.block_size;
    const char* sub_block = view.cells + (block * view.num_kv_heads + kv_head) * view.cell_bytes +
                            offset / kSubBlock * view.sub_block_bytes;
    const int64_t token = offset % kSubBlock;
    const Tensor keys{const_cast<char*>(sub_block), spec_.dtype, {view.head_dim, kSubBlock}};
    const Tensor values{const_cast<char*>(sub_block) + view.value_offset,
                        spec_.dtype,
                        {kSubBlock, view.value_stride}};
    for (int d = 0; d < view.head_dim; ++d) {
      k[d] = read_float(keys, d * kSubBlock + token);
      v[d] = read_float(values, token * view.value_stride + d);
    }
  }

  KvView layer_view(int layer) const {
    DCHECK(layer >= 0 && layer < spec_.num_layers);
    KvView view = view_;
    view.cells = reinterpret_cast<char*>(arena_->data()) +
                 int64_t{layer} * spec_.num_blocks * view.num_kv_heads * view.cell_bytes;
    return view;
  }

 private:
  const KvCacheSpec spec_;
  const KvView view_;
  std::unique_ptr<Arena> arena_;
};

const AttentionKernels& kernels(Isa isa) {
  switch (vector_isa(isa)) {
    case Isa::kAvx2:
      return avx2::kAttentionKernels;
    case Isa::kAvx512:
      return avx512::kAttentionKernels;
    default:
      return portable::kAttentionKernels;
  }
}

// A thread's scratch memory; grows to the largest head_dim met.
class ScratchMemory {
 public:
  ~ScratchMemory() { std::free(data_); }

  AttentionScratch get(int64_t stride) {
    const int64_t sizes[] = {kMaxRows * stride, int64_t{kMaxRows} * kTile,
                             kMaxRows * stride, kMaxRows * 16,
                             kMaxRows,          kTile * stride,
                             kTile * stride};
    int64_t total = 0;
    for (int64_t n : sizes) total += n;
    if (total > size_) {
      std::free(data_);
      data_ =
          static_cast<float*>(std::aligned_alloc(64, static_cast<size_t>(total) * sizeof(float)));
      size_ = data_ ? total : 0;
      if (!data_) throw std::bad_alloc();
    }
    float* next = data_;
    const auto take = [&](int i) { return std::exchange(next, next + sizes[i]); };
    return {take(0), take(1), take(2), take(3), take(4), take(5), take(6)};
  }

 private:
  float* data_ = nullptr;
  int64_t size_ = 0;
};

AttentionScratch thread_scratch(int64_t stride) {
  static thread_local ScratchMemory memory;
  return memory.get(stride);
}

// Consecutive tokens of one row of the batch, small enough for one task a head chunk.
struct QueryBlock {
  int row = 0;
  int first = 0;  // token of the batch
  int tokens = 0;
  int position = 0;
};

// Later blocks of a sequence see more keys, so they come first: the last tasks to be taken are
// small ones.
std::vector<QueryBlock> cut_queries(const AttentionBatch& batch, int tokens_per_block) {
  const int32_t* row_begin = batch.row_begin.as<int32_t>();
  const int32_t* kv_len = batch.kv_len.as<int32_t>();
  std::vector<QueryBlock> blocks;
  for (int row = 0; row < batch.num_rows; ++row) {
    const int begin = row_begin[row], end = row_begin[row + 1];
    for (int last = end; last > begin; last -= tokens_per_block) {
      const int first = std::max(begin, last - tokens_per_block);
      blocks.push_back({row, first, last - first, kv_len[row] - (end - first)});
    }
  }
  std::stable_sort(blocks.begin(), blocks.end(), [](const QueryBlock& a, const QueryBlock& b) {
    return int64_t{a.position} * a.tokens > int64_t{b.position} * b.tokens;
  });
  return blocks;
}

}  // namespace

std::unique_ptr<KvCache> make_cpu_kv_cache(const KvCacheSpec& spec) {
  return std::make_unique<CpuKvCache>(spec);
}

size_t kv_block_bytes(const KvCacheSpec& spec) {
  return static_cast<size_t>(view_of(spec).cell_bytes) * spec.num_kv_heads * spec.num_layers;
}

void rope_and_cache(Isa isa, ThreadPool& pool, const RopeAndCacheArgs& args) {
  const KvView view = static_cast<CpuKvCache*>(args.cache)->layer_view(args.layer);
  const AttentionBatch& batch = *args.batch;
  const int64_t q_size = int64_t{args.num_q_heads} * view.head_dim;
  const int64_t qkv_size = q_size + 2 * int64_t{view.num_kv_heads} * view.head_dim;
  DCHECK(args.qkv.dtype == DType::kF32 && args.qkv.count() == batch.num_tokens * qkv_size);
  DCHECK(args.rotary_dims % 2 == 0 && args.rotary_dims <= view.head_dim);

  RopeTask all;
  all.kv = &view;
  all.num_q_heads = args.num_q_heads;
  all.rotary_dims = args.rotary_dims;
  all.cos_sin = args.rotary_dims > 0 ? args.cos_sin.as<float>() : nullptr;
  all.q_norm = args.q_norm ? args.q_norm->tensor().as<float>() : nullptr;
  all.k_norm = args.k_norm ? args.k_norm->tensor().as<float>() : nullptr;
  all.eps = args.norm_eps;
  constexpr int64_t kTokensPerTask = 8;
  pool.parallel_for(batch.num_tokens, kTokensPerTask, [&](int64_t begin, int64_t end, int) {
    RopeTask task = all;
    task.num_tokens = static_cast<int>(end - begin);
    task.positions = batch.positions.as<int32_t>() + begin;
    task.slots = batch.slot_mapping.as<int64_t>() + begin;
    task.qkv = args.qkv.as<float>() + begin * qkv_size;
    task.q_out = args.q_out.as<float>() + begin * q_size;
    kernels(isa).rope_and_cache(task);
  });
}

void attention(Isa isa, ThreadPool& pool, const AttentionArgs& args) {
  const auto* cache = static_cast<const CpuKvCache*>(args.cache);
  const KvView view = cache->layer_view(args.layer);
  const AttentionBatch& batch = *args.batch;
  const int group = args.num_q_heads / view.num_kv_heads;
  DCHECK(group * view.num_kv_heads == args.num_q_heads);
  DCHECK(args.q.dtype == DType::kF32 && args.out.dtype == DType::kF32);

  // The group of heads that shares a KV head is cut only where it alone would fill a task.
  const int chunks = divide_up(group, kMaxRows);
  const int heads_per_chunk = divide_up(group, chunks);
  const std::vector<QueryBlock> queries =
      cut_queries(batch, std::max(1, kMaxRows / heads_per_chunk));
  const int64_t q_stride = int64_t{args.num_q_heads} * view.head_dim;
  const int64_t tasks_per_block = int64_t{view.num_kv_heads} * chunks;
  const int64_t num_tasks = static_cast<int64_t>(queries.size()) * tasks_per_block;

  std::atomic<int64_t> next{0};
  pool.run([&](int) {
    const AttentionScratch scratch = thread_scratch(view.value_stride);
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < num_tasks;) {
      const QueryBlock& block = queries[i / tasks_per_block];
      const int kv_head = static_cast<int>(i % tasks_per_block) / chunks;
      const int first_head = static_cast<int>(i % chunks) * heads_per_chunk;
      const int64_t offset =
          block.first * q_stride + int64_t{kv_head * group + first_head} * view.head_dim;
      AttentionTask task;
      task.kv = &view;
      task.blocks = batch.blocks.as<int32_t>() + batch.block_begin.as<int32_t>()[block.row];
      task.kv_head = kv_head;
      task.tokens = block.tokens;
      task.heads = std::min(heads_per_chunk, group - first_head);
      task.position = block.position;
      task.window = cache->spec().window;
      task.scale = args.scale;
      task.q = args.q.as<float>() + offset;
      task.out = args.out.as<float>() + offset;
      task.token_stride = q_stride;
      kernels(isa).attend(task, scratch);
    }
  });
}

}  // namespace octavo::cpu
