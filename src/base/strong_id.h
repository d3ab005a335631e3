// StrongId<Tag>: an integer that cannot be mistaken for another kind of integer.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace octavo {

template <typename Tag, typename T = int32_t>
struct StrongId {
  T value = -1;
  constexpr StrongId() = default;
  constexpr explicit StrongId(T v) : value(v) {}
  constexpr bool valid() const { return value >= 0; }
  friend constexpr auto operator<=>(StrongId, StrongId) = default;
};

using BlockId = StrongId<struct BlockTag>;  // a KV block of one cache group
using SlotId = StrongId<struct SlotTag>;    // a state row on the device
using StepId = StrongId<struct StepTag, int64_t>;
using SequenceId = StrongId<struct SequenceTag, int64_t>;

}  // namespace octavo

template <typename Tag, typename T>
struct std::hash<octavo::StrongId<Tag, T>> {
  size_t operator()(octavo::StrongId<Tag, T> id) const { return std::hash<T>()(id.value); }
};
