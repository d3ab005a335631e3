#include "trace/otlp.h"

#include <cstring>
#include <optional>

#include "base/utf8.h"

namespace octavo::trace {
namespace {

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// Appends the fields of one message.
class MessageWriter {
 public:
  explicit MessageWriter(std::string& out) : out_(out) {}

  void varint(uint32_t field, uint64_t value) {
    tag(field, kVarint);
    append_varint(value);
  }
  void fixed64(uint32_t field, uint64_t value) {
    tag(field, kFixed64);
    append_little_endian(value, 8);
  }
  void fixed32(uint32_t field, uint32_t value) {
    tag(field, kFixed32);
    append_little_endian(value, 4);
  }
  void bytes(uint32_t field, std::string_view value) {
    tag(field, kBytes);
    append_varint(value.size());
    out_ += value;
  }
  template <size_t size>
  void bytes(uint32_t field, const std::array<uint8_t, size>& value) {
    bytes(field, std::string_view(reinterpret_cast<const char*>(value.data()), size));
  }
  void text(uint32_t field, std::string_view value) {
    if (valid_utf8(value)) return bytes(field, value);
    bytes(field, replace_invalid_utf8(value));
  }
  // A message stands behind its length, so it is written aside first.
  template <typename Write>
  void message(uint32_t field, Write&& write) {
    std::string inner;
    MessageWriter writer(inner);
    write(writer);
    bytes(field, inner);
  }

 private:
  void tag(uint32_t field, WireType type) { append_varint(field << 3 | type); }
  void append_varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_ += static_cast<char>(value | 0x80);
    out_ += static_cast<char>(value);
  }
  void append_little_endian(uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out_ += static_cast<char>(value >> (8 * i));
  }

  std::string& out_;
};

struct AnyValueWriter {
  MessageWriter& out;
  void operator()(int64_t value) const { out.varint(3, static_cast<uint64_t>(value)); }
  void operator()(double value) const {
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    out.fixed64(4, bits);
  }
  void operator()(const std::string& value) const { out.text(1, value); }
  void operator()(const std::vector<std::string>& values) const {
    out.message(5, [&](MessageWriter& array) {
      for (const std::string& value : values) {
        array.message(1, [&](MessageWriter& any) { any.text(1, value); });
      }
    });
  }
};

void write_attributes(MessageWriter& out, uint32_t field, const std::vector<Attribute>& all) {
  for (const Attribute& attribute : all) {
    out.message(field, [&](MessageWriter& pair) {
      pair.text(1, attribute.key);
      pair.message(2,
                   [&](MessageWriter& any) { std::visit(AnyValueWriter{any}, attribute.value); });
    });
  }
}

void write_span(MessageWriter& out, const Span& span) {
  constexpr uint64_t kServer = 2, kStatusError = 2;
  constexpr uint32_t kSampled = 1, kKnowsIfRemote = 1 << 8, kIsRemote = 1 << 9;
  out.bytes(1, span.trace_id);
  out.bytes(2, span.span_id);
  if (!span.state.empty()) out.text(3, span.state);
  if (span.has_parent) out.bytes(4, span.parent_id);
  out.text(5, span.name);
  out.varint(6, kServer);
  out.fixed64(7, static_cast<uint64_t>(span.start));
  out.fixed64(8, static_cast<uint64_t>(span.end));
  write_attributes(out, 9, span.attributes);
  for (const Event& event : span.events) {
    out.message(11, [&](MessageWriter& e) {
      e.fixed64(1, static_cast<uint64_t>(event.time));
      e.text(2, event.name);
    });
  }
  if (!span.error.ok()) {
    out.message(15, [&](MessageWriter& status) {
      status.text(2, span.error.message());
      status.varint(3, kStatusError);
    });
  }
  out.fixed32(16, kSampled | kKnowsIfRemote | (span.has_parent ? kIsRemote : 0));
}

// Takes the fields of one message off its bytes.
class MessageReader {
 public:
  explicit MessageReader(std::string_view bytes) : rest_(bytes) {}

  struct Field {
    uint64_t number = 0;
    uint64_t value = 0;      // of varints
    std::string_view bytes;  // of lengths
  };
  // None at the end, and where the bytes make no sense.
  std::optional<Field> next() {
    const auto tag = take_varint();
    if (!tag) return {};
    Field field{.number = *tag >> 3, .bytes = {}};
    switch (*tag & 7) {
      case kVarint: {
        const auto value = take_varint();
        if (!value) return {};
        field.value = *value;
        return field;
      }
      case kBytes: {
        const auto size = take_varint();
        if (!size || *size > rest_.size()) return {};
        field.bytes = rest_.substr(0, *size);
        rest_.remove_prefix(*size);
        return field;
      }
      case kFixed64:
      case kFixed32: {
        const size_t size = (*tag & 7) == kFixed64 ? 8 : 4;
        if (size > rest_.size()) return {};
        rest_.remove_prefix(size);
        return field;
      }
      default:
        return {};
    }
  }

 private:
  std::optional<uint64_t> take_varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return {};
  }

  std::string_view rest_;
};

}  // namespace

std::string encode_export_request(const std::vector<Attribute>& resource,
                                  std::span<const Span> spans) {
  std::string out;
  MessageWriter(out).message(1, [&](MessageWriter& resource_spans) {
    resource_spans.message(1, [&](MessageWriter& r) { write_attributes(r, 1, resource); });
    resource_spans.message(2, [&](MessageWriter& scope_spans) {
      scope_spans.message(1, [](MessageWriter& scope) { scope.text(1, "octavo"); });
      for (const Span& span : spans) {
        scope_spans.message(2, [&](MessageWriter& s) { write_span(s, span); });
      }
    });
  });
  return out;
}

PartialSuccess decode_export_response(std::string_view bytes) {
  PartialSuccess out;
  MessageReader response(bytes);
  while (const auto field = response.next()) {
    if (field->number != 1) continue;
    MessageReader partial(field->bytes);
    while (const auto inner = partial.next()) {
      if (inner->number == 1) out.rejected_spans = static_cast<int64_t>(inner->value);
      if (inner->number == 2) out.message = replace_invalid_utf8(inner->bytes);
    }
  }
  return out;
}

}  // namespace octavo::trace
