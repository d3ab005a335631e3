// Tests of OTLP's bytes. What a collector makes of them is tested in tests/e2e/test_tracing.py with
// OpenTelemetry's own message types.
#include "trace/otlp.h"

#include <gtest/gtest.h>

#include <string>

namespace octavo::trace {
namespace {

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
  return out;
}

template <typename Id>
Id counting_from(uint8_t first) {
  Id id{};
  for (uint8_t& byte : id) byte = first++;
  return id;
}

TEST(Otlp, WritesTheBytesThatProtobufWrites) {
  constexpr int64_t kTime = 1'000'000'000'000'000'001;
  const Span whole{.name = "llm_request",
                   .trace_id = counting_from<TraceId>(1),
                   .span_id = counting_from<SpanId>(17),
                   .has_parent = true,
                   .parent_id = counting_from<SpanId>(33),
                   .state = "a=1",
                   .start = kTime,
                   .end = kTime + 1,
                   .attributes = {{"n", int64_t{300}},
                                  {"m", int64_t{-1}},
                                  {"t", 0.5},
                                  {"id", std::string("x\xff")},
                                  {"r", std::vector<std::string>{"stop", "length"}}},
                   .events = {{"scheduled", kTime}},
                   .error = internal_error("no")};
  Span bare{.name = "llm_request", .start = 5, .end = 6};
  bare.trace_id.fill(0xff);
  bare.span_id.fill(0xfe);
  const Span spans[] = {whole, bare};
  // By opentelemetry-proto's Python classes, with x\ufffd for the text that is no UTF-8.
  const std::string expected =
      "0ab6020a1a0a180a0c736572766963652e6e616d6512080a066f637461766f1297020a080a066f637461766f"
      "12c5010a100102030405060708090a0b0c0d0e0f10120811121314151617181a03613d312208212223242526"
      "27282a0b6c6c6d5f72657175657374300239010064a7b3b6e00d41020064a7b3b6e00d4a080a016e120318ac"
      "024a100a016d120b18ffffffffffffffffff014a0e0a0174120921000000000000e03f4a0c0a02696412060a"
      "0478efbfbd4a190a017212142a120a060a0473746f700a080a066c656e6774685a1409010064a7b3b6e00d12"
      "097363686564756c65647a0612026e6f180285010103000012430a10ffffffffffffffffffffffffffffffff"
      "1208fefefefefefefefe2a0b6c6c6d5f72657175657374300239050000000000000041060000000000000085"
      "0101010000";
  EXPECT_EQ(hex(encode_export_request({{"service.name", std::string("octavo")}}, spans)), expected);
}

TEST(Otlp, ReadsWhatACollectorRejected) {
  const std::string answer("\x0a\x0c\x08\xac\x02\x12\x07too old", 14);
  EXPECT_EQ(decode_export_response(answer).rejected_spans, 300);
  EXPECT_EQ(decode_export_response(answer).message, "too old");
  EXPECT_EQ(decode_export_response("").rejected_spans, 0);
}

TEST(Otlp, SurvivesAnswersThatAreCutOffOrMakeNoSense) {
  const std::string answer("\x0a\x0c\x08\xac\x02\x12\x07too old", 14);
  for (size_t size = 0; size < answer.size(); ++size) {
    EXPECT_EQ(decode_export_response(answer.substr(0, size)).rejected_spans, 0) << size;
  }
  for (const char* bad :
       {"<html>", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x0b", "\x09\x01", "\xff"}) {
    EXPECT_EQ(decode_export_response(bad).rejected_spans, 0);
  }
}

}  // namespace
}  // namespace octavo::trace
