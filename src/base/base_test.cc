// Tests of base: JSON in and out, UTF-8, Status.
#include <gtest/gtest.h>

#include "base/json_writer.h"
#include "base/utf8.h"
#include "octavo/status.h"
#include "octavo/value.h"

namespace octavo {
namespace {

TEST(Json, ReadsEveryKindAndKeepsOrder) {
  auto v = parse_json(R"({"b":[1,2.5,true,null,"x\u00e9"],"a":{}})");
  ASSERT_TRUE(v.ok()) << v.status().to_string();
  EXPECT_EQ(to_json(*v), "{\"b\":[1,2.5,true,null,\"x\xC3\xA9\"],\"a\":{}}");
}

TEST(Json, RefusesWithTheByteOffset) {
  EXPECT_NE(parse_json("{\"a\": tru}").status().message().find("at byte"), std::string::npos);
  EXPECT_FALSE(parse_json("").ok());
  EXPECT_FALSE(parse_json("{} x").ok());
  EXPECT_FALSE(parse_json("\"\xff\"").ok());
}

TEST(Json, RefusesNumbersOutOfRangeAndDeepNesting) {
  EXPECT_FALSE(parse_json("[1e999]").ok());
  EXPECT_FALSE(parse_json(std::string(100000, '[')).ok());
  EXPECT_TRUE(parse_json(std::string(100, '[') + std::string(100, ']')).ok());
}

TEST(Json, WriterEscapesAndReplacesInvalidBytes) {
  std::string out;
  append_json_string(out, std::string("a\"\\\n\x01\xff\xC3\xA9", 8));
  EXPECT_EQ(out, "\"a\\\"\\\\\\n\\u0001\xEF\xBF\xBD\xC3\xA9\"");
}

TEST(Json, WriterKeepsDoublesDoubles) {
  JsonWriter w;
  w.begin_array().number(1.0).number(0.1).number(1e300 * 1e10).number(int64_t{3}).end_array();
  EXPECT_EQ(w.text(), "[1.0,0.1,null,3]");
}

TEST(Utf8, AcceptsOnlyWellFormedText) {
  EXPECT_TRUE(valid_utf8("plain ascii text, \xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"));
  for (const char* bad :
       {"\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\x80", "\xFF"}) {
    EXPECT_FALSE(valid_utf8(bad)) << bad;
  }
}

TEST(Utf8, ReplacesEachMaximalInvalidPartOnce) {
  EXPECT_EQ(replace_invalid_utf8("a\xE2\x82z\xFF\xFE"), "a\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(Utf8, RoundTripsEveryScalarValue) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string s;
    append_utf8(s, c);
    const Decoded d = decode_utf8(s, 0);
    ASSERT_TRUE(d.valid);
    ASSERT_EQ(d.code_point, c);
    ASSERT_EQ(d.length, static_cast<int>(s.size()));
  }
}

TEST(Utf8, PrintableTextCannotMoveTheCursorOrEndTheLine) {
  const auto printable = [](std::string_view text) {
    std::string out;
    append_printable(out, text);
    return out;
  };
  EXPECT_EQ(printable("GET /v1 ~ Grüße 你好 🙂"), "GET /v1 ~ Grüße 你好 🙂");
  EXPECT_EQ(printable("a\nERROR b\r\tc"), "a\\nERROR b\\r\\tc");
  EXPECT_EQ(printable(std::string_view("\x1b[2J\0\x7f", 6)), "\\x1b[2J\\x00\\x7f");
  EXPECT_EQ(printable("\u009b31m"), "\\xc2\\x9b31m") << "an 8-bit control sequence";
  EXPECT_EQ(printable("\u202egnp.exe\u2028"), "\\u202egnp.exe\\u2028");
  EXPECT_EQ(printable("\xff\xe4\xbd"), "\\xff\\xe4\\xbd");
}

TEST(Status, CarriesContextAndParam) {
  const Status s = invalid_argument("bad").with_param("stop").with_context("request");
  EXPECT_EQ(s.to_string(), "invalid_argument: request: bad");
  EXPECT_EQ(s.param(), "stop");
}

}  // namespace
}  // namespace octavo
