// The bytes between the two processes of an engine (--engine-process): how plain values are written
// and read back. Integers and floats as they lie in memory (both ends are one program on one
// machine), a count before every list, a flag before every optional.
//
// Writer and Reader are archives: `archive(a, b, c)` writes or reads the values in order, so that
// one list of fields (wire_types.h) serves both directions. A Reader believes nothing: it checks
// every length against the bytes that are left, every flag and enum against its range, and never
// allocates more than the input can fill. After a breach it yields default values, and ok() is
// false. No thread of its own.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/strong_id.h"

namespace octavo::wire {

// Greatest value of an enum that may cross; specialised beside the enum's fields.
template <typename E>
constexpr E kLast = E();

template <typename T>
concept Number = std::integral<T> || std::floating_point<T>;

class Writer {
 public:
  template <typename... Ts>
  void operator()(const Ts&... values) {
    (put(values), ...);
  }
  std::string take() { return std::move(bytes_); }
  size_t size() const { return bytes_.size(); }

 private:
  void raw(const void* data, size_t size) { bytes_.append(static_cast<const char*>(data), size); }
  void count(size_t n) { put(static_cast<uint64_t>(n)); }

  template <Number T>
  void put(T value) {
    raw(&value, sizeof value);
  }
  template <typename E>
  requires std::is_enum_v<E>
  void put(E value) { put(static_cast<int32_t>(value)); }
  void put(const std::string& value) {
    count(value.size());
    raw(value.data(), value.size());
  }
  template <typename T>
  void put(const std::vector<T>& values) {
    count(values.size());
    if constexpr (Number<T>) {
      raw(values.data(), values.size() * sizeof(T));
    } else {
      for (const T& value : values) put(value);
    }
  }
  template <typename T>
  void put(const std::optional<T>& value) {
    put(value.has_value());
    if (value) put(*value);
  }
  template <typename A, typename B>
  void put(const std::pair<A, B>& value) {
    put(value.first);
    put(value.second);
  }
  // REQUIRES: not null.
  template <typename T>
  void put(const std::shared_ptr<const T>& value) {
    put(*value);
  }
  template <typename Tag, typename T>
  void put(StrongId<Tag, T> id) {
    put(id.value);
  }
  template <typename T>
  requires std::is_class_v<T>
  void put(const T& value) { fields(*this, value); }

  std::string bytes_;
};

class Reader {
 public:
  // `bytes` must outlive it.
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  template <typename... Ts>
  void operator()(Ts&... values) {
    (get(values), ...);
  }
  bool ok() const { return ok_; }
  // Everything was read, and nothing else was there.
  bool done() const { return ok_ && rest_.empty(); }
  void fail() {
    ok_ = false;
    rest_ = {};
  }

 private:
  bool raw(void* out, size_t size) {
    if (size > rest_.size()) {
      fail();
      return false;
    }
    if (size > 0) std::memcpy(out, rest_.data(), size);
    rest_.remove_prefix(size);
    return true;
  }
  // A count of elements that take at least `each` bytes; 0 after a breach.
  size_t count(size_t each) {
    uint64_t n = 0;
    if (!raw(&n, sizeof n)) return 0;
    if (n > rest_.size() / each) fail();
    return ok_ ? static_cast<size_t>(n) : 0;
  }

  template <Number T>
  void get(T& value) {
    if (!raw(&value, sizeof value)) value = T();
  }
  void get(bool& value) {
    uint8_t byte = 0;
    get(byte);
    if (byte > 1) fail();
    value = ok_ && byte == 1;
  }
  template <typename E>
  requires std::is_enum_v<E>
  void get(E& value) {
    int32_t number = 0;
    get(number);
    if (number < 0 || number > static_cast<int32_t>(kLast<E>)) fail();
    value = ok_ ? static_cast<E>(number) : E();
  }
  void get(std::string& value) {
    value.resize(count(1));
    raw(value.data(), value.size());
  }
  template <typename T>
  void get(std::vector<T>& values) {
    values.clear();
    if constexpr (Number<T>) {
      values.resize(count(sizeof(T)));
      raw(values.data(), values.size() * sizeof(T));
    } else {
      // One at a time: an element in memory may be larger than its least size on the wire.
      for (size_t left = count(1); left > 0 && ok_; --left) get(values.emplace_back());
    }
  }
  template <typename T>
  void get(std::optional<T>& value) {
    bool there = false;
    get(there);
    if (there) {
      get(value.emplace());
    } else {
      value.reset();
    }
  }
  template <typename A, typename B>
  void get(std::pair<A, B>& value) {
    get(value.first);
    get(value.second);
  }
  template <typename T>
  void get(std::shared_ptr<const T>& value) {
    auto made = std::make_shared<T>();
    get(*made);
    value = std::move(made);
  }
  template <typename Tag, typename T>
  void get(StrongId<Tag, T>& id) {
    get(id.value);
  }
  template <typename T>
  requires std::is_class_v<T>
  void get(T& value) { fields(*this, value); }

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace octavo::wire
