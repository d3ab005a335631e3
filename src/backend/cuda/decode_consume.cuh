// The consumers of the decode kernel: four warps that take the tiles from the ring, put what is
// appended in its place, and join their results when an item ends.
#pragma once

#include "backend/cuda/decode_mma.cuh"
#include "backend/cuda/decode_tiles.cuh"
#include "backend/cuda/mail.cuh"
#include "backend/cuda/numeric.cuh"
#include "backend/cuda/sm90.cuh"
#include "backend/cuda/warp.cuh"

namespace octavo::cuda::decode {

// Four dims of one head's result, unnormalised.
struct Sum {
  float m = -INFINITY, l = 0;
  float4 o = {};

  __device__ __forceinline__ void add(float2 ml, const float4& other) {
    const float top = fmaxf(m, ml.x);
    const float base = top == -INFINITY ? 0 : top;
    const float mine = exp2_fast(m - base), its = exp2_fast(ml.x - base);
    m = top;
    l = l * mine + ml.y * its;
    o.x = o.x * mine + other.x * its;
    o.y = o.y * mine + other.y * its;
    o.z = o.z * mine + other.z * its;
    o.w = o.w * mine + other.w * its;
  }
};

// Adds what the CTAs [first, first + count) send, in order, several loads in flight. `part` of
// `parts`: where this thread's four dims lie in what each of them sends.
__device__ inline void add_mail(Sum& sum, const Mail& mail, int first, int count, int parts,
                                int part) {
  constexpr int kBatch = 4;
#pragma unroll 1
  for (int k = 0; k < count; k += kBatch) {
    float2 ml[kBatch];
    float4 o[kBatch];
    const int64_t from = int64_t{first + k} * parts + part;
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      if (k + j >= count) break;
      ml[j] = peek_mail(mail.ml + from + j * parts);
      o[j] = peek_mail(mail.o + from + j * parts);
    }
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      if (k + j >= count) break;
      float2* const ml_from = mail.ml + from + j * parts;
      float4* const o_from = mail.o + from + j * parts;
      while (!has_arrived(ml[j])) ml[j] = peek_mail(ml_from);
      while (!has_arrived(o[j])) o[j] = peek_mail(o_from);
      *ml_from = {};
      *o_from = {};
      sum.add(ml[j], o[j]);
    }
  }
}

// Adds the partial results of the slots [first, first + count), in order, several loads in flight.
// The loads pass the L1 cache by: other SMs wrote these.
__device__ inline void add_partials(Sum& sum, const Partials& from, int dims, int first, int count,
                                    int row, int dim) {
  constexpr int kBatch = 8;
#pragma unroll 1
  for (int k = 0; k < count; k += kBatch) {
    float2 ml[kBatch];
    float4 o[kBatch];
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      ml[j] = {-INFINITY, 0};
      o[j] = {};
      if (k + j < count) {
        const int64_t line = int64_t{first + k + j} * kQueryTile + row;
        ml[j] = __ldcg(from.ml + line);
        o[j] = __ldcg(reinterpret_cast<const float4*>(from.o + line * dims + dim));
      }
    }
#pragma unroll
    for (int j = 0; j < kBatch; ++j) sum.add(ml[j], o[j]);
  }
}

template <typename T, int kDim, int kHeadTiles>
struct Consumer {
  using L = Layout<kDim, kHeadTiles>;
  static constexpr int kSteps = kDim / 16;

  const Call& call;
  unsigned char* shared;
  int warp = static_cast<int>(threadIdx.x) / 32;
  int lane = static_cast<int>(threadIdx.x) % 32;

  uint32_t q[kHeadTiles][kSteps][2];
  float o[kHeadTiles][kSteps][4];  // dims 16 step + g and + 8, heads 2 t and 2 t + 1
  float m[kHeadTiles][2];          // of heads 2 t and 2 t + 1, the same in all lanes of t
  float l[kHeadTiles][2];          // of this lane's tokens

  __device__ Consumer(const Call& c, unsigned char* s) : call(c), shared(s) {}

  // All consumers: what rope_and_cache() does, to the queries of a tile that begins an item, and to
  // the key and value of the row's last token in the tile that has it, which thus get their places
  // in the tile and in the cache. Each warp takes a row at a time.
  __device__ void prepare(unsigned char* stage, const TileInfo& info) const {
    const bool first = info.flags & TileInfo::kFirst, newest = info.flags & TileInfo::kNewest;
    const Projection& projection = call.projection;
    const auto words = [](void* at) { return static_cast<uint32_t*>(at); };
    const int queries = first ? call.heads : 0;
    const int token = info.end - 1;
    const int place = token / kPieceTokens * L::kPieceStride + token % kPieceTokens * kDim * 2;
    const int64_t line =
        (int64_t{info.new_block} * call.num_kv_heads + info.head) * call.block_size.divisor +
        info.new_offset;
#pragma unroll 1
    for (int row = warp; row < queries + (newest ? 2 : 0); row += kConsumerWarps) {
      const bool is_q = row < queries, is_v = row == queries + 1;
      uint32_t* const from = words(stage + (is_q   ? L::kQueries + row * L::kQueryStride
                                            : is_v ? L::kNewValue
                                                   : L::kNewKey));
      uint32_t* const to = is_q ? from : words(stage + place + (is_v ? L::kValues : 0));
      uint32_t* const cache =
          is_q ? nullptr : words(is_v ? call.values : call.keys) + line * (kDim / 2);
      const float* norm = reinterpret_cast<const float*>(shared + L::kNorms);
      if (is_q ? projection.q_norm == nullptr : is_v || projection.k_norm == nullptr) {
        norm = nullptr;
      } else if (!is_q) {
        norm += kDim;
      }
      rotate(from, reinterpret_cast<const float*>(stage + L::kTurn),
             is_v ? 0 : projection.rotary_dims / 4, norm, to, cache);
    }
    sm90::fence_shared_for_async();  // the copy engine will write here again
    sm90::named_barrier(1, kConsumers);
  }

  // One warp and a row, as pairs: the norm, if there is one, the rotation of the first 2 `half`
  // pairs, and the copies to `to` and to `cache`, if there is one. The loops are short, and code
  // that is fetched for a few rows should be.
  __device__ __forceinline__ void rotate(const uint32_t* from, const float* turn, int half,
                                         const float* norm, uint32_t* to, uint32_t* cache) const {
    constexpr int kPairs = kDim / 2;
    float scale = 1;
    if (norm != nullptr) {
      float squares = 0;
#pragma unroll 1
      for (int i = lane; i < kPairs; i += 32) {
        const float2 v = unpack2<T>(from[i]);
        squares += v.x * v.x + v.y * v.y;
      }
#pragma unroll 1
      for (int step = 16; step > 0; step /= 2) squares += __shfl_xor_sync(~0u, squares, step);
      scale = rsqrtf(squares / kDim + call.projection.norm_eps);
    }
    const auto read = [&](int i) {
      float2 v = unpack2<T>(from[i]);
      if (norm != nullptr) {
        v.x *= scale * norm[2 * i];
        v.y *= scale * norm[2 * i + 1];
      }
      return v;
    };
    const auto write = [&](int i, float x, float y) {
      const uint32_t pair = pack2<T>(x, y);
      to[i] = pair;
      if (cache != nullptr) cache[i] = pair;
    };
#pragma unroll 1
    for (int i = lane; i < half; i += 32) {
      const float2 a = read(i), b = read(i + half);
      const float2 cosine = *reinterpret_cast<const float2*>(turn + 2 * i);
      const float2 sine = *reinterpret_cast<const float2*>(turn + 2 * (i + half));
      write(i, a.x * cosine.x - b.x * sine.x, a.y * cosine.y - b.y * sine.y);
      write(i + half, b.x * cosine.x + a.x * sine.x, b.y * cosine.y + a.y * sine.y);
    }
#pragma unroll 1
    for (int i = 2 * half + lane; i < kPairs; i += 32) {
      const float2 v = read(i);
      write(i, v.x, v.y);
    }
  }

  __device__ __forceinline__ void begin_item(uint32_t stage) {
    const uint32_t queries = stage + L::kQueries + lane % 8 * L::kQueryStride + lane / 8 % 2 * 16;
#pragma unroll
    for (int n = 0; n < kHeadTiles; ++n) {
#pragma unroll
      for (int k = 0; k < kSteps; ++k) {
        load_matrices(q[n][k], queries + n * 8 * L::kQueryStride + k * 32);
#pragma unroll
        for (int i = 0; i < 4; ++i) o[n][k][i] = 0;
      }
      m[n][0] = m[n][1] = -INFINITY;
      l[n][0] = l[n][1] = 0;
    }
  }

  // `begin`, `end`: the valid tokens of the tile.
  __device__ __forceinline__ void add_tile(uint32_t stage, int begin, int end) {
    const int g = lane / 4, t = lane % 4;
    float s[2][kHeadTiles][4] = {};  // even and odd steps: two chains of dependent products
    const uint32_t keys = stage + lane % 8 * L::kPieceStride +
                          (2 * warp + lane / 8 % 2) * (kDim * 2) + lane / 16 * 16;
#pragma unroll
    for (int k = 0; k < kSteps; ++k) {
      uint32_t a[4];
      load_matrices(a, keys + k * 32);
#pragma unroll
      for (int n = 0; n < kHeadTiles; ++n) multiply<T>(s[k % 2][n], a, q[n][k]);
    }

    // Row g of the product is token 8 g + 2 warp, row g + 8 the next.
    const int token = kPieceTokens * g + 2 * warp;
    const bool valid[2] = {token >= begin && token < end, token + 1 >= begin && token + 1 < end};
    uint32_t p[kHeadTiles][2];
#pragma unroll
    for (int n = 0; n < kHeadTiles; ++n) {
      float x[4], top[2];
#pragma unroll
      for (int i = 0; i < 4; ++i) x[i] = valid[i / 2] ? s[0][n][i] + s[1][n][i] : -INFINITY;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        top[i] = fmaxf(x[i], x[i + 2]);
        for (int step = 4; step < 32; step *= 2)
          top[i] = fmaxf(top[i], __shfl_xor_sync(~0u, top[i], step));
        top[i] = fmaxf(m[n][i], top[i] * call.scale_log2);
      }
      if (__any_sync(~0u, top[0] != m[n][0] || top[1] != m[n][1])) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float factor = top[i] == -INFINITY ? 1 : exp2_fast(m[n][i] - top[i]);
          m[n][i] = top[i];
          l[n][i] *= factor;
#pragma unroll
          for (int k = 0; k < kSteps; ++k) {
            o[n][k][i] *= factor;
            o[n][k][i + 2] *= factor;
          }
        }
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float base = m[n][i % 2] == -INFINITY ? 0 : m[n][i % 2];
        x[i] = exp2_fast(x[i] * call.scale_log2 - base);
        l[n][i % 2] += x[i];
      }
      p[n][0] = transpose8x8(pack2<T>(x[0], x[1]));
      p[n][1] = transpose8x8(pack2<T>(x[2], x[3]));
    }

    // Values of other tokens may be anything, NaN too, which 0 does not cancel. The columns of A
    // are the tokens of rows 2 t and 2 t + 1 above, then those behind them.
    uint32_t mask[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int low = kPieceTokens * 2 * t + 2 * warp + i, high = low + kPieceTokens;
      mask[i] = (low >= begin && low < end ? 0x0000FFFFu : 0) |
                (high >= begin && high < end ? 0xFFFF0000u : 0);
    }
    const uint32_t values = stage + L::kValues + lane % 8 * L::kPieceStride +
                            (2 * warp + lane / 16) * (kDim * 2) + lane / 8 % 2 * 16;
#pragma unroll
    for (int k = 0; k < kSteps; ++k) {
      uint32_t a[4];
      load_matrices_transposed(a, values + k * 32);
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] &= mask[i / 2];
#pragma unroll
      for (int n = 0; n < kHeadTiles; ++n) multiply<T>(o[n][k], a, p[n]);
    }
  }

  // Joins the warps' results, and in a cut item those of the CTAs.
  __device__ void end_item(const TileInfo& info) {
    const int g = lane / 4, t = lane % 4;
    float2* stats = reinterpret_cast<float2*>(shared + L::stats(call.stages));
    float* join = reinterpret_cast<float*>(shared + L::join(call.stages));
    const int heads = call.heads;
#pragma unroll
    for (int n = 0; n < kHeadTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float sum = l[n][i];
        for (int step = 4; step < 32; step *= 2) sum += __shfl_xor_sync(~0u, sum, step);
        const int head = 8 * n + 2 * t + i;
        if (head >= heads) continue;
        if (g == 0) stats[warp * L::kHeads + head] = {m[n][i], sum};
        float* line = join + (warp * heads + head) * L::kJoinStride + g;
#pragma unroll
        for (int k = 0; k < kSteps; ++k) {
          line[16 * k] = o[n][k][i];
          line[16 * k + 8] = o[n][k][i + 2];
        }
      }
    }
    sm90::named_barrier(1, kConsumers);

    const auto for_each_part = [&](auto&& body) {  // four dims of a head
      for (int i = static_cast<int>(threadIdx.x); i < heads * (kDim / 4); i += kConsumers)
        body(i / (kDim / 4), i % (kDim / 4) * 4);
    };
    const auto join_warps = [&](int head, int dim) {
      Sum sum;
      for (int i = 0; i < kConsumerWarps; ++i) {
        sum.add(stats[i * L::kHeads + head],
                *reinterpret_cast<const float4*>(join + (i * heads + head) * L::kJoinStride + dim));
      }
      return sum;
    };
    const Mail& mail = call.workspace.mail;
    const int cta = static_cast<int>(blockIdx.x), parts = heads * (kDim / 4);
    const auto part_of = [](int head, int dim) { return head * (kDim / 4) + dim / 4; };

    if (info.first_cta != cta) {
      for_each_part([&](int head, int dim) {
        const Sum sum = join_warps(head, dim);
        const int64_t to = int64_t{cta} * parts + part_of(head, dim);
        send_mail(mail.ml + to, float2{sum.m, sum.l});
        send_mail(mail.o + to, sum.o);
      });
      sm90::named_barrier(1, kConsumers);  // the next item may write, too
      return;
    }

    if (info.prefix_slots > 0) sm90::wait_for_previous();
    for_each_part([&](int head, int dim) {
      Sum sum = join_warps(head, dim);
      add_mail(sum, mail, cta + 1, info.contributors, parts, part_of(head, dim));
      add_partials(sum, call.workspace.prefix, kDim, info.prefix_slot, info.prefix_slots,
                   info.prefix_row + head, dim);
      const float scale = 1 / sum.l;
      const int64_t line = (int64_t{info.token} * call.num_kv_heads + info.head) * heads + head;
      *reinterpret_cast<uint2*>(static_cast<T*>(call.out) + line * kDim + dim) = {
          pack2<T>(sum.o.x * scale, sum.o.y * scale), pack2<T>(sum.o.z * scale, sum.o.w * scale)};
    });
    sm90::named_barrier(1, kConsumers);  // the next item may write
  }

  __device__ void run() {
    uint64_t* full = reinterpret_cast<uint64_t*>(shared);
    uint64_t* empty = full + kMaxStages;
    const TileInfo* infos = reinterpret_cast<const TileInfo*>(shared + L::kInfos);
    for (int stage = 0, parity = 0;;) {
      sm90::wait(&full[stage], static_cast<uint32_t>(parity));
      const TileInfo info = infos[stage];
      if (info.flags & TileInfo::kStop) break;
      unsigned char* const tile = shared + L::kRing + stage * L::kStageBytes;
      if (call.projection.qkv != nullptr && (info.flags & (TileInfo::kFirst | TileInfo::kNewest)))
        prepare(tile, info);
      const uint32_t buffer = sm90::shared_address(tile);
      if (info.flags & TileInfo::kFirst) begin_item(buffer);
      add_tile(buffer, info.begin, info.end);
      sm90::fence_shared_for_async();  // what is read here, the copy engine writes next
      sm90::arrive(&empty[stage]);
      if (info.flags & TileInfo::kLast) end_item(info);
      if (++stage == call.stages) stage = 0, parity ^= 1;
    }
  }
};

}  // namespace octavo::cuda::decode
