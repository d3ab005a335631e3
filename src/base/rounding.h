// Quotients and multiples, rounded up. For counts: no value is negative, and value + unit fits T.
#pragma once

namespace octavo {

template <typename T>
constexpr T divide_up(T value, T unit) {
  return (value + unit - 1) / unit;
}

template <typename T>
constexpr T round_up(T value, T unit) {
  return divide_up(value, unit) * unit;
}

}  // namespace octavo
