#include "trace/trace_context.h"

#include <sys/random.h>

#include <algorithm>
#include <charconv>
#include <random>

namespace octavo::trace {
namespace {

constexpr size_t kMaxStateBytes = 512;
constexpr int kMaxStateMembers = 32;

template <size_t size>
std::array<uint8_t, size> random_id() {
  std::array<uint8_t, size> id{};
  do {
    if (getrandom(id.data(), size, 0) != static_cast<ssize_t>(size)) {
      std::random_device device;
      for (uint8_t& byte : id) byte = static_cast<uint8_t>(device());
    }
  } while (id == std::array<uint8_t, size>{});
  return id;
}

// Two lower-case digits a byte; upper case is malformed.
template <size_t size>
bool read_hex(std::string_view text, std::array<uint8_t, size>& out) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  for (size_t i = 0; i < size; ++i) {
    const int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

std::string_view strip(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// key=value: a key of [a-z0-9_*/@-], a value of printable ASCII without '=' and ','.
bool is_state_member(std::string_view member) {
  const size_t equals = member.find('=');
  if (equals == 0 || equals > 256 || equals == std::string_view::npos) return false;
  const std::string_view key = member.substr(0, equals), value = member.substr(equals + 1);
  const auto key_byte = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           std::string_view("_-*/@").find(c) != std::string_view::npos;
  };
  const auto value_byte = [](char c) { return c >= 0x20 && c <= 0x7e && c != '='; };
  return !value.empty() && value.size() <= 256 && std::all_of(key.begin(), key.end(), key_byte) &&
         std::all_of(value.begin(), value.end(), value_byte);
}

bool is_state(std::string_view text) {
  if (text.size() > kMaxStateBytes) return false;
  for (int members = 0; !text.empty();) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view member = strip(text.substr(0, comma));
    if (!member.empty() && (!is_state_member(member) || ++members > kMaxStateMembers)) return false;
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return true;
}

}  // namespace

TraceId random_trace_id() {
  return random_id<16>();
}
SpanId random_span_id() {
  return random_id<8>();
}

std::optional<Parent> parse_trace_context(std::string_view traceparent,
                                          std::string_view tracestate) {
  // version - trace id - span id - flags, each of fixed length: 00-…32-…16-01
  constexpr size_t kLength = 55;
  const std::string_view text = strip(traceparent);
  if (text.size() < kLength || text[2] != '-' || text[35] != '-' || text[52] != '-') return {};
  std::array<uint8_t, 1> version{}, flags{};
  Parent parent;
  if (!read_hex(text.substr(0, 2), version) || !read_hex(text.substr(3, 32), parent.trace_id) ||
      !read_hex(text.substr(36, 16), parent.span_id) || !read_hex(text.substr(53, 2), flags)) {
    return {};
  }
  // Later versions may add fields at the end; 255 is reserved.
  if (version[0] == 0xff || (version[0] == 0 && text.size() != kLength)) return {};
  if (text.size() > kLength && text[kLength] != '-') return {};
  if (parent.trace_id == TraceId{} || parent.span_id == SpanId{}) return {};
  parent.sampled = (flags[0] & 1) != 0;
  if (is_state(tracestate)) parent.state = strip(tracestate);
  return parent;
}

bool Sampler::keeps(const Parent* parent, const TraceId& trace_id) const {
  if (follows_parent && parent != nullptr) return parent->sampled;
  if (ratio >= 1) return true;
  uint64_t low = 0;
  for (size_t i = 8; i < 16; ++i) low = low << 8 | trace_id[i];
  // 2^63 steps, as OpenTelemetry's SDKs take them.
  return static_cast<double>(low >> 1) < ratio * 9223372036854775808.0;
}

StatusOr<Sampler> parse_sampler(std::string_view name, std::string_view argument) {
  Sampler sampler;
  constexpr std::string_view kParentBased = "parentbased_";
  const std::string_view whole = name;
  sampler.follows_parent = name.empty() || name.starts_with(kParentBased);
  if (name.starts_with(kParentBased)) name.remove_prefix(kParentBased.size());
  if (name.empty() || name == "always_on") return sampler;
  if (name == "always_off") {
    sampler.ratio = 0;
    return sampler;
  }
  if (name != "traceidratio") {
    return invalid_argument("OTEL_TRACES_SAMPLER: '" + std::string(whole) +
                            "' is none of always_on, always_off, traceidratio, "
                            "parentbased_always_on, parentbased_always_off, "
                            "parentbased_traceidratio");
  }
  if (argument.empty()) return sampler;
  const auto [end, error] =
      std::from_chars(argument.data(), argument.data() + argument.size(), sampler.ratio);
  if (error != std::errc() || end != argument.data() + argument.size() ||
      !(sampler.ratio >= 0 && sampler.ratio <= 1)) {
    return invalid_argument("OTEL_TRACES_SAMPLER_ARG: '" + std::string(argument) +
                            "' is no number from 0 to 1");
  }
  return sampler;
}

}  // namespace octavo::trace
