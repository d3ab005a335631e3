#include "text/grammar/json_formats.h"

#include <algorithm>
#include <iterator>

namespace octavo::text {
namespace {

// Pieces of patterns, put together by the compiler.
// clang-format off
#define DAY_OF_MONTH                                          \
  "((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|"                 \
  "(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))"
#define LEAP_YEAR "([12]\\d(0[48]|[2468][048]|[13579][26])|(1[26]|2[048])00)"
// Of the years 1000 to 2999.
#define DATE "([12]\\d{3}-" DAY_OF_MONTH "|" LEAP_YEAR "-02-29)"
#define HOUR_AND_MINUTE "([01]\\d|2[0-3]):[0-5]\\d"
#define TIME HOUR_AND_MINUTE ":[0-5]\\d(\\.\\d{1,6})?(Z|[+-]" HOUR_AND_MINUTE ")"
#define COUNT "\\d{1,6}"
#define DURATION_TIME \
  "T(" COUNT "H(" COUNT "M(" COUNT "S)?)?|" COUNT "M(" COUNT "S)?|" COUNT "S)"
#define BYTE "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define IPV4 "(" BYTE "\\.){3}" BYTE
#define H16 "[0-9a-fA-F]{1,4}"
#define IPV6                                                                        \
  "((" H16 ":){7}" H16 "|(" H16 ":){1,7}:|(" H16 ":){1,6}:" H16 "|"                 \
  "(" H16 ":){1,5}(:" H16 "){1,2}|(" H16 ":){1,4}(:" H16 "){1,3}|"                  \
  "(" H16 ":){1,3}(:" H16 "){1,4}|(" H16 ":){1,2}(:" H16 "){1,5}|"                  \
  H16 ":(:" H16 "){1,6}|:((:" H16 "){1,7}|:))"
#define HEX(n) "[0-9a-fA-F]{" #n "}"
#define UUID(version) HEX(8) "-" HEX(4) "-" version HEX(3) "-[89abAB]" HEX(3) "-" HEX(12)
#define LABEL "[a-z0-9]+(-[a-z0-9]+)*"
#define HOST LABEL "(\\." LABEL ")*"
#define EMAIL "[A-Za-z0-9_+\\-]+(\\.[A-Za-z0-9_+\\-]+)*@(" LABEL "\\.)+[a-z]{2,12}"
#define URI                                                                            \
  "[a-z][a-z0-9+]{0,9}://" HOST "(:\\d{1,4})?(/[A-Za-z0-9._~@:!$&'()*+,;=/\\-]*)?"     \
  "(\\?[A-Za-z0-9._~@:!$&'()*+,;=/?\\-]*)?(#[A-Za-z0-9._~\\-]*)?"

struct Row {
  std::string_view name;
  JsonFormat format;
};
constexpr auto kFree = JsonFormat::Kind::kFree;
constexpr auto kPattern = JsonFormat::Kind::kPattern;

constexpr Row kFormats[] = {
    {"date", {kPattern, DATE, 10, 10}},
    {"time", {kPattern, TIME, 9, 21}},
    {"date-time", {kPattern, DATE "T" TIME, 20, 32}},
    {"duration", {kPattern, "P(" COUNT "W|" COUNT "D(" DURATION_TIME ")?|" DURATION_TIME ")", 3, 29}},
    {"email", {kPattern, EMAIL, 6, -1}},
        {"hostname", {kPattern, HOST, 1, -1}},
    {"ipv4", {kPattern, IPV4, 7, 15}},
    {"ipv6", {kPattern, IPV6, 2, 39}},
    {"uri", {kPattern, URI, 5, kMaxUriLength}},
    {"uuid", {kPattern, HEX(8) "-" HEX(4) "-" HEX(4) "-" HEX(4) "-" HEX(12), 36, 36}},
    {"uuid1", {kPattern, UUID("1"), 36, 36}},
    {"uuid3", {kPattern, UUID("3"), 36, 36}},
    {"uuid4", {kPattern, UUID("4"), 36, 36}},
    {"uuid5", {kPattern, UUID("5"), 36, 36}},
    {"uuid6", {kPattern, UUID("6"), 36, 36}},
    {"uuid7", {kPattern, UUID("7"), 36, 36}},
    {"uuid8", {kPattern, UUID("8"), 36, 36}},
    {"ipvanyaddress", {kPattern, IPV4 "|" IPV6, 2, 39}},
    {"json-pointer", {kPattern, "(/([^~/]|~[01])*)*", 0, -1}},
    // Pydantic's and OpenAPI's words for the use of a value.
    {"binary", {kFree}},
    {"directory-path", {kFree}},
    {"double", {kFree}},
    {"file-path", {kFree}},
    {"float", {kFree}},
    {"int32", {kFree}},
    {"int64", {kFree}},
    {"password", {kFree}},
    {"path", {kFree}},
};

constexpr std::string_view kRespelled[][2] = {
    // Pydantic: Decimal.
    {"^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$", "^[+-]?(\\d+(\\.\\d*)?|\\.\\d+)$"},
    // zod: email().
    {"^(?!\\.)(?!.*\\.\\.)([A-Za-z0-9_'+\\-\\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\\-]*\\.)+[A-Za-z]{2,}$",
     "^" EMAIL "$"},
};
// clang-format on

}  // namespace

JsonFormat find_json_format(std::string_view name) {
  const Row* const row = std::find_if(std::begin(kFormats), std::end(kFormats),
                                      [&](const Row& r) { return r.name == name; });
  return row == std::end(kFormats) ? JsonFormat() : row->format;
}

std::string_view without_lookaround(std::string_view pattern) {
  for (const auto& [with, without] : kRespelled) {
    if (pattern == with) return without;
  }
  return {};
}

}  // namespace octavo::text
