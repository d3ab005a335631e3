// Tests of the HTTP client: answers on every split of their bytes, URLs, and what a server may not
// make of us. Whole exchanges are tested in tests/e2e/test_hub.py, TLS among them.
#include <gtest/gtest.h>

#include "http/fetch.h"
#include "http/reader.h"
#include "http/url.h"

namespace octavo::http {
namespace {

using State = HttpReader::State;

TEST(HttpReader, FreesAChunkedBodyHoweverTheBytesAreSplit) {
  const std::string answer =
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5\r\ndata:\r\na;x=y\r\n {\"a\": 1}\n\r\n1\r\n\n\r\n0\r\n\r\n";
  for (size_t step = 1; step <= answer.size(); ++step) {
    HttpReader reader;
    std::string body;
    for (size_t i = 0; i < answer.size(); i += step)
      reader.feed(std::string_view(answer).substr(i, step), body);
    EXPECT_EQ(reader.state(), State::kDone) << step;
    EXPECT_EQ(reader.status(), 200);
    EXPECT_TRUE(reader.keep_alive());
    EXPECT_EQ(body, "data: {\"a\": 1}\n\n") << step;
  }
}

TEST(HttpReader, KnowsLengthsAndCloses) {
  HttpReader reader;
  std::string body;
  EXPECT_EQ(
      reader.feed("HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\nConnection: close\r\n\r\nabc",
                  body),
      State::kDone);
  EXPECT_EQ(body, "abc");
  EXPECT_FALSE(reader.keep_alive());
  reader.reset();
  body.clear();
  EXPECT_EQ(reader.feed("HTTP/1.1 200 OK\r\n\r\nto the end", body), State::kBody);
  EXPECT_EQ(reader.finish(), State::kDone);
  reader.reset();
  EXPECT_EQ(reader.feed("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", body), State::kBody);
  EXPECT_EQ(reader.finish(), State::kBad);
}

TEST(HttpReader, KeepsTheHeadersOfTheAnswerAndNotOfTheInterimOnes) {
  HttpReader reader;
  std::string body;
  reader.feed("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nETag:  \"a\" \r\n\r\n",
              body);
  EXPECT_EQ(reader.status(), 200);
  EXPECT_EQ(find_header(reader.headers(), "Link"), nullptr);
  ASSERT_NE(find_header(reader.headers(), "etag"), nullptr);
  EXPECT_EQ(*find_header(reader.headers(), "etag"), "\"a\"");
}

TEST(HttpReader, WaitsForNoBodyWhereNoneComes) {
  std::string body;
  HttpReader head(true);
  EXPECT_EQ(head.feed("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", body), State::kDone);
  HttpReader unchanged;
  EXPECT_EQ(unchanged.feed("HTTP/1.1 304 Not Modified\r\n\r\n", body), State::kDone);
}

TEST(HttpReader, RefusesWhatIsNoHttpAndHeadsWithoutEnd) {
  std::string body;
  for (const char* bad : {"SSH-2.0-OpenSSH\r\n", "HTTP/1.1 2x0 OK\r\n", "HTTP/1.1 099 No\r\n",
                          "HTTP/1.1 200 OK\r\nno colon\r\n",
                          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"}) {
    HttpReader reader;
    EXPECT_EQ(reader.feed(bad, body), State::kBad) << bad;
  }
  HttpReader reader;
  reader.feed("HTTP/1.1 200 OK\r\n", body);
  for (int i = 0; i < 20000 && reader.state() != State::kBad; ++i) reader.feed("a: b\r\n", body);
  EXPECT_EQ(reader.state(), State::kBad);
  EXPECT_LE(reader.headers().size() * 6, HttpReader::kMaxHeadBytes);
}

TEST(Events, AreCutAtLinesAndTheRestIsKept) {
  std::string body = "data: one\n\n: comment\ndata:two\r\n\r\ndata: thr";
  std::vector<std::string> seen;
  take_events(body, [&](std::string_view payload) { seen.emplace_back(payload); });
  EXPECT_EQ(seen, (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(body, "data: thr");
}

TEST(Url, IsTakenApart) {
  const Url plain = *parse_url("http://Host.example");
  EXPECT_EQ(plain.port, "80");
  EXPECT_EQ(plain.path, "/");
  EXPECT_EQ(plain.authority(), "Host.example");
  const Url full = *parse_url("https://[::1]:8443/a/b?c=d#e");
  EXPECT_TRUE(full.tls);
  EXPECT_EQ(full.host, "::1");
  EXPECT_EQ(full.authority(), "[::1]:8443");
  EXPECT_EQ(full.path, "/a/b?c=d");
  EXPECT_EQ(parse_url("http://h?x")->path, "/?x");
}

TEST(Url, IsRefusedWhereItCouldMeanTwoThings) {
  for (const char* bad : {"", "host:80", "ftp://h", "http://", "http://:80", "http://h:0",
                          "http://h:99999", "http://h:8x", "http://user@h/", "http://h/a b",
                          "http://h/\r\nX: y", "http://h/\x7f", "file:///etc/passwd"}) {
    EXPECT_FALSE(parse_url(bad).ok()) << bad;
  }
}

TEST(Url, FollowsARedirectButNeverOutOfTheEncryption) {
  const Url base = *parse_url("https://hub.example/a/b");
  EXPECT_EQ(resolve_redirect(base, "/c?d")->to_string(), "https://hub.example/c?d");
  const Url other = *resolve_redirect(base, "https://cdn.example/x");
  EXPECT_FALSE(other.same_origin(base));
  EXPECT_TRUE(resolve_redirect(base, "/c")->same_origin(base));
  for (const char* bad : {"http://hub.example/a", "//cdn.example/x", "relative", "/a\r\nb", ""})
    EXPECT_FALSE(resolve_redirect(base, bad).ok()) << bad;
}

TEST(Fetch, RefusesHeadersThatHoldALineBreak) {
  Request request{.url = *parse_url("http://127.0.0.1:9/")};
  request.headers = {{"Authorization", "Bearer x\r\nHost: evil"}};
  EXPECT_EQ(fetch(request, {}, {}).code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace octavo::http
