// The end of a linear op: bias, activation, residual, store. The matrix kernels leave the raw
// sums of one pair of panels in a small buffer; finish_pair() takes it from there. Compiled per
// instruction set (vec.h).
#pragma once

#include "backend/cpu/linear_problem.h"
#include "backend/cpu/vec.h"

namespace octavo::cpu::OCTAVO_ISA {

// 1 / (1 + e^-v)
OCTAVO_INLINE Vec sigmoid(Vec v) {
  return 1.0f / (1.0f + exp(-v));
}

// 0.5 v (1 + tanh(u)) = v sigmoid(2u), u = sqrt(2/pi) (v + 0.044715 v^3)
OCTAVO_INLINE Vec gelu_tanh(Vec v) {
  const Vec u = v * fma(v * v, broadcast(0.044715f), broadcast(1.0f));
  return v * sigmoid(u * 1.5957691216f);
}

// erf by Abramowitz and Stegun 7.1.26, absolute error below 2e-7.
OCTAVO_INLINE Vec gelu(Vec v) {
  const Vec z = abs(v) * 0.70710678f;
  const Vec t = 1.0f / fma(z, broadcast(0.3275911f), broadcast(1.0f));
  Vec p = broadcast(1.061405429f);
  p = fma(p, t, broadcast(-1.453152027f));
  p = fma(p, t, broadcast(1.421413741f));
  p = fma(p, t, broadcast(-0.284496736f));
  p = fma(p, t, broadcast(0.254829592f));
  const Vec tail = p * t * exp(-z * z);  // 1 - erf(z)
  return v * (v < 0.0f ? 0.5f * tail : 1.0f - 0.5f * tail);
}

template <Epilogue E>
OCTAVO_INLINE Vec activate(Vec v) {
  if constexpr (E == Epilogue::kGelu) return gelu(v);
  if constexpr (E == Epilogue::kGeluTanh) return gelu_tanh(v);
  return v;
}

// One vector of outputs: columns [column, column + count) of row m. `sums` are its raw sums;
// `up_sums` those of the up projection, with kSwiGlu.
template <Epilogue E, bool kWhole>
OCTAVO_INLINE void finish_vector(const LinearProblem& p, int64_t m, int64_t column, int count,
                                 const float* sums, const float* up_sums) {
  const auto get = [count](const float* from) {
    return kWhole ? load(from) : load_first(from, count);
  };
  Vec v = load(sums);
  if (p.bias != nullptr) v += get(p.bias + column);
  if constexpr (E == Epilogue::kSwiGlu) {
    Vec up = load(up_sums);
    if (p.bias != nullptr) up += get(p.bias + p.columns + column);
    v = v * sigmoid(v) * up;
  } else {
    v = activate<E>(v);
  }
  const int64_t at = m * p.columns + column;
  if (p.residual != nullptr) v += get(p.residual + at);
  if constexpr (kWhole) {
    store(p.out + at, v);
  } else {
    store_first(p.out + at, v, count);
  }
}

template <Epilogue E>
static void finish_rows(const LinearProblem& p, int64_t pair, int64_t m_begin, int64_t m_end,
                        const float* sums, int64_t stride) {
  constexpr int kOutputs = E == Epilogue::kSwiGlu ? kPanel : kPairColumns;
  const int64_t first = pair * kOutputs;
  const int64_t outputs = p.columns - first < kOutputs ? p.columns - first : kOutputs;
  for (int64_t m = m_begin; m < m_end; ++m, sums += stride) {
    int64_t j = 0;
    for (; j + kWidth <= outputs; j += kWidth) {
      finish_vector<E, true>(p, m, first + j, kWidth, sums + j, sums + kPanel + j);
    }
    if (j < outputs) {
      finish_vector<E, false>(p, m, first + j, static_cast<int>(outputs - j), sums + j,
                              sums + kPanel + j);
    }
  }
}

// Rows [m_begin, m_end) of a pair; sums [m_end - m_begin][32], `stride` floats from row to row.
// Every output goes through the same code whatever the other rows are, so its bits depend on its
// own sums alone.
OCTAVO_INLINE void finish_pair(const LinearProblem& p, int64_t pair, int64_t m_begin, int64_t m_end,
                               const float* sums, int64_t stride) {
  switch (p.epilogue) {
    case Epilogue::kNone:
      return finish_rows<Epilogue::kNone>(p, pair, m_begin, m_end, sums, stride);
    case Epilogue::kGelu:
      return finish_rows<Epilogue::kGelu>(p, pair, m_begin, m_end, sums, stride);
    case Epilogue::kGeluTanh:
      return finish_rows<Epilogue::kGeluTanh>(p, pair, m_begin, m_end, sums, stride);
    case Epilogue::kSwiGlu:
      return finish_rows<Epilogue::kSwiGlu>(p, pair, m_begin, m_end, sums, stride);
  }
}

}  // namespace octavo::cpu::OCTAVO_ISA
