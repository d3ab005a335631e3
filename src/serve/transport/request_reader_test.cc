// Requests as bytes: what is understood, and that nothing is read in two ways.
#include "serve/transport/request_reader.h"

#include <gtest/gtest.h>

#include "serve/transport/http_words.h"

namespace octavo::serve {
namespace {

using State = RequestReader::State;
constexpr RequestReader::Limits kLimits = {.head_bytes = 400, .body_bytes = 100};

struct Outcome {
  State state;
  int error_status;
  std::string method, path, query, body;
  HttpHeaders headers;
  bool keep_alive;
  size_t used;
  bool operator==(const Outcome&) const = default;
};

Outcome read(std::string_view bytes, size_t piece) {
  RequestReader reader(kLimits);
  size_t used = 0;
  while (used < bytes.size()) {
    const std::string_view next = bytes.substr(used, piece);
    const size_t taken = reader.feed(next);
    used += taken;
    if (taken < next.size()) break;
  }
  HttpRequest& r = reader.request();
  return {reader.state(), reader.error_status(), r.method, r.path, r.query, r.body,
          r.headers,      reader.keep_alive(),   used};
}

// The same however the bytes are cut.
Outcome read(std::string_view bytes) {
  const Outcome whole = read(bytes, bytes.size());
  for (const size_t piece : {1, 2, 3, 7}) {
    Outcome cut = read(bytes, piece);
    EXPECT_EQ(cut.state, whole.state) << bytes;
    EXPECT_EQ(cut.error_status, whole.error_status) << bytes;
    if (whole.state == State::kDone) {
      EXPECT_TRUE(cut == whole) << bytes;
    }
  }
  return whole;
}

std::string with(std::string_view headers) {
  return "POST /p HTTP/1.1\r\nHost: h\r\n" + std::string(headers) + "\r\n";
}

TEST(RequestReader, ReadsMethodTargetHeadersAndBody) {
  const std::string_view request =
      "POST /a/b?c=d&e HTTP/1.1\r\nHost: h:80\r\nX-Y:\t z  \r\nContent-Length: 5\r\n\r\nhello";
  const Outcome r = read(std::string(request) + "GET / HTTP/1.1\r\n");
  EXPECT_EQ(r.state, State::kDone);
  EXPECT_EQ(r.method, "POST");
  EXPECT_EQ(r.path, "/a/b");
  EXPECT_EQ(r.query, "c=d&e");
  EXPECT_EQ(r.body, "hello");
  EXPECT_EQ(r.headers[1].second, "z");
  EXPECT_TRUE(r.keep_alive);
  EXPECT_EQ(r.used, request.size()) << "the next request is left alone";
}

TEST(RequestReader, ChunksAreJoinedAndTrailersAreNoHeaders) {
  const Outcome r = read(with("Transfer-Encoding: Chunked\r\n") +
                         "5\r\nhello\r\n00B;name=\"v\"\r\n, and more!\r\n0\r\n"
                         "Authorization: Bearer x\r\nContent-Length: 3\r\n\r\n");
  EXPECT_EQ(r.state, State::kDone);
  EXPECT_EQ(r.body, "hello, and more!");
  EXPECT_EQ(r.headers.size(), 2u);
}

TEST(RequestReader, TheEndOfAConnectionIsAsItsHeadersSay) {
  EXPECT_FALSE(read(with("Connection: Upgrade , Close\r\n")).keep_alive);
  EXPECT_FALSE(read(with("Connection: keep-alive\r\nConnection: close\r\n")).keep_alive);
  EXPECT_FALSE(read("GET / HTTP/1.0\r\n\r\n").keep_alive);
  EXPECT_TRUE(read("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
}

TEST(RequestReader, TargetsMayBeWholeUrls) {
  EXPECT_EQ(read("GET http://x.example:80/v1/models?q HTTP/1.1\r\nHost: y\r\n\r\n").path,
            "/v1/models");
  EXPECT_EQ(read("GET HTTPS://x HTTP/1.1\r\nHost: x\r\n\r\n").path, "/");
  EXPECT_EQ(read("GET https://x?q HTTP/1.1\r\nHost: x\r\n\r\n").query, "q");
  EXPECT_EQ(read("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").path, "*");
}

TEST(RequestReader, PathsAreKeptAsTheyAre) {
  for (const std::string path :
       {"//v1/models", "/v1/../health", "/%2e%2e/x", "/v1%2Fmodels", "/a\\b"}) {
    EXPECT_EQ(read("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n").path, path);
  }
}

TEST(RequestReader, ABlankLineBeforeARequestIsPassedOver) {
  EXPECT_EQ(read("\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n").state, State::kDone);
}

TEST(RequestReader, WhatCouldBeReadInTwoWaysIsRefused) {
  const std::string zero("X: a\0b\r\n", 8);
  for (const std::string& bytes : {
           // Lengths.
           with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
           with("Content-Length: 5\r\nContent-Length: 5\r\n"),
           with("Content-Length: 5, 5\r\n"),
           with("Content-Length: +5\r\n"),
           with("Content-Length: -0\r\n"),
           with("Content-Length: 0x5\r\n"),
           with("Content-Length: 5 5\r\n"),
           with("Content-Length:\r\n"),
           with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
           with("Transfer-Encoding: chunked, chunked\r\n"),
           with("Transfer-Encoding: xchunked\r\n"),
           with("Transfer-Encoding: \"chunked\"\r\n"),
           with("Transfer-Encoding: gzip, chunked\r\n"),
           with("Transfer-Encoding: identity\r\n"),
           with("Transfer-Encoding: chunked\v\r\n"),
           std::string("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
           // Headers.
           with("Transfer-Encoding : chunked\r\n"),
           with("Transfer-Encoding\t: chunked\r\n"),
           with(" X: folded\r\n"),
           with("X: a\r\n\tfolded\r\n"),
           with("X: a\nContent-Length: 5\r\n"),
           with("X: a\rContent-Length: 5\r\n"),
           with("X: a\r\r\n"),
           with(zero),
           with("X: \x7f\r\n"),
           with(": nameless\r\n"),
           with("no colon\r\n"),
           with("X(Y): a\r\n"),
           with("H\xc3\xb6st: a\r\n"),
           std::string("GET / HTTP/1.1\r\n Host: x\r\n\r\n"),
           // Hosts.
           std::string("GET / HTTP/1.1\r\n\r\n"),
           with("Host: other\r\n"),
           std::string("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
           std::string("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
           std::string("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"),
           // First lines.
           std::string("GET / HTTP/1.1\nHost: x\n\n"),
           std::string("GET  / HTTP/1.1\r\nHost: x\r\n\r\n"),
           std::string("GET / x HTTP/1.1\r\nHost: x\r\n\r\n"),
           std::string("GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n"),
           std::string(" GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
           std::string("G@T / HTTP/1.1\r\nHost: x\r\n\r\n"),
           std::string("GET / HTTP/1.1 \r\nHost: x\r\n\r\n"),
           std::string("GET / http/1.1\r\nHost: x\r\n\r\n"),
           std::string("GET / HTTP/1.2\r\nHost: x\r\n\r\n"),
           std::string("GET / HTTP/2.0\r\nHost: x\r\n\r\n"),
           std::string("GET /\r\nHost: x\r\n\r\n"),
           std::string("GET path HTTP/1.1\r\nHost: x\r\n\r\n"),
           std::string("GET * HTTP/1.1\r\nHost: x\r\n\r\n"),
           std::string("GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n"),
           std::string("GET http:///x HTTP/1.1\r\nHost: x\r\n\r\n"),
           std::string("GET http://u@x/ HTTP/1.1\r\nHost: x\r\n\r\n"),
           std::string("GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n"),
           std::string("GET /\xc3\xb6 HTTP/1.1\r\nHost: x\r\n\r\n"),
           std::string("CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n"),
           // Chunks.
           with("Transfer-Encoding: chunked\r\n") + "\r\n",
           with("Transfer-Encoding: chunked\r\n") + "0x5\r\n",
           with("Transfer-Encoding: chunked\r\n") + "5 \r\nhello\r\n",
           with("Transfer-Encoding: chunked\r\n") + "5\nhello\r\n",
           with("Transfer-Encoding: chunked\r\n") + "5\r\nhello!\r\n",
           with("Transfer-Encoding: chunked\r\n") + "5\r\nhello\n",
           with("Transfer-Encoding: chunked\r\n") + "5;" + std::string(300, 'x') + "\r\n",
           with("Transfer-Encoding: chunked\r\n") + "0\r\nX : y\r\n\r\n",
       }) {
    const Outcome r = read(bytes);
    EXPECT_EQ(r.state, State::kFailed) << bytes;
    EXPECT_EQ(r.error_status, 400) << bytes;
  }
}

TEST(RequestReader, LimitsHoldForEveryPart) {
  EXPECT_EQ(read("GET /" + std::string(400, 'x')).error_status, 431);
  EXPECT_EQ(read(with("X: " + std::string(400, 'x') + "\r\n")).error_status, 431);
  EXPECT_EQ(read(std::string(500, '\r') + "\n").error_status, 400);
  EXPECT_EQ(read("\r\n" + std::string(100, ' ') + "\r\n").error_status, 400);
  std::string blank;
  for (int i = 0; i < 300; ++i) blank += "\r\n";
  EXPECT_EQ(read(blank).error_status, 431);
  EXPECT_EQ(read(with("Content-Length: 101\r\n")).error_status, 413);
  EXPECT_EQ(read(with("Content-Length: 99999999999999999999999999\r\n")).error_status, 413);
  EXPECT_EQ(read(with("Content-Length: 0000000000000000000000000\r\n")).state, State::kDone);
  const std::string chunked = with("Transfer-Encoding: chunked\r\n");
  EXPECT_EQ(read(chunked + "65\r\n").error_status, 413);
  EXPECT_EQ(read(chunked + "1\r\nx\r\n64\r\n").error_status, 413);
  EXPECT_EQ(read(chunked + "fffffffffffffffffff\r\n").error_status, 413);
  EXPECT_EQ(read(chunked + "0\r\nX: " + std::string(400, 'x') + "\r\n\r\n").error_status, 431);
}

TEST(RequestReader, OfExpectationsOneIsKnown) {
  RequestReader reader(kLimits);
  reader.feed(with("Expect: 100-Continue\r\nContent-Length: 1\r\n"));
  EXPECT_TRUE(reader.wants_continue());
  EXPECT_EQ(reader.state(), State::kBody);
  EXPECT_EQ(read(with("Expect: a miracle\r\n")).error_status, 417);
}

TEST(HttpWords, AreComparedAsHeadersAre) {
  EXPECT_TRUE(equals_ignoring_case("Content-Length", "content-lengtH"));
  EXPECT_FALSE(equals_ignoring_case("[", "{"));
  EXPECT_TRUE(list_has_word("a , CLOSE\t", "close"));
  EXPECT_FALSE(list_has_word("closed", "close"));
  EXPECT_EQ(trim_blanks(" \t x y\t"), "x y");
}

}  // namespace
}  // namespace octavo::serve
