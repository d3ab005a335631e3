// The page's files as they go over the wire, and the engine's state behind it.
#include "serve/views/page.h"

#include <gtest/gtest.h>

#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

constexpr std::string_view kGzip = "Accept-Encoding: gzip, deflate, br\r\n";

TEST(Page, EveryFileIsServedCompressedAndLockedDown) {
  TestServer server;
  TestClient client(server.port());
  ASSERT_EQ(page_files().front().path, "/");
  size_t total = 0;
  for (const PageFile& file : page_files()) {
    const TestResponse response = client.request("GET", file.path, "", kGzip);
    ASSERT_EQ(response.status, 200) << file.path;
    EXPECT_EQ(response.header("content-encoding"), "gzip");
    EXPECT_EQ(response.header("content-type"), file.content_type);
    EXPECT_EQ(response.header("x-content-type-options"), "nosniff");
    EXPECT_EQ(response.header("referrer-policy"), "no-referrer");
    EXPECT_EQ(response.header("vary"), "accept-encoding");
    EXPECT_EQ(response.body.substr(0, 2), "\x1f\x8b");
    const std::string policy = response.header("content-security-policy");
    EXPECT_TRUE(policy.starts_with("default-src 'self';")) << policy;
    EXPECT_EQ(policy.find("unsafe"), std::string::npos);
    total += response.body.size();
  }
  EXPECT_GT(page_files().size(), 3u);
  EXPECT_LT(total, 100'000u);
}

TEST(Page, AFileTheBrowserHasIsNotSentAgain) {
  TestServer server;
  TestClient client(server.port());
  const PageFile& file = page_files().back();
  const std::string headers =
      std::string(kGzip) + "If-None-Match: W/\"x\", " + std::string(file.etag) + "\r\n";
  client.send_request("GET", file.path, "", headers);
  const TestResponse known = client.read_response(/*head=*/true);  // no body follows
  EXPECT_EQ(known.status, 304);
  EXPECT_EQ(known.header("etag"), file.etag);
  EXPECT_EQ(known.header("content-length"), "");
  EXPECT_EQ(
      client.request("GET", file.path, "", std::string(kGzip) + "If-None-Match: \"x\"\r\n").status,
      200);
}

TEST(Page, WhoTakesNoGzipIsToldWhatToDo) {
  TestServer server;
  TestClient client(server.port());
  for (const std::string_view accepted :
       {"", "Accept-Encoding: identity\r\n", "Accept-Encoding: br, gzip;q=0\r\n",
        "Accept-Encoding: gzip-ish\r\n"}) {
    const TestResponse response = client.request("GET", "/", "", accepted);
    EXPECT_EQ(response.status, 406) << accepted;
    EXPECT_NE(response.body.find("--compressed"), std::string::npos);
  }
  for (const std::string_view accepted :
       {"Accept-Encoding: br,gzip;q=0.5\r\n", "Accept-Encoding: *\r\n"}) {
    EXPECT_EQ(client.request("GET", "/", "", accepted).status, 200) << accepted;
  }
}

TEST(Page, OnlyItsOwnFilesAreThere) {
  TestServer server;
  TestClient client(server.port());
  for (const std::string_view path :
       {"/page/", "/page/nothing.js", "/page/../page.cc", "/page/%2e%2e/x", "/index.html"}) {
    EXPECT_EQ(client.request("GET", path, "", kGzip).status, 404) << path;
  }
  EXPECT_EQ(client.post("/", "{}").status, 405);
}

TEST(Page, CanBeTurnedOff) {
  ServerOptions options;
  options.disable_page = true;
  TestServer server({}, options);
  TestClient client(server.port());
  EXPECT_EQ(client.request("GET", "/", "", kGzip).status, 404);
  EXPECT_EQ(client.request("GET", page_files().back().path, "", kGzip).status, 404);
  EXPECT_EQ(client.request("GET", "/v1/models").status, 200);
}

TEST(EngineState, ShowsModelBlocksAndSequences) {
  TestServer server;
  TestClient client(server.port());
  const Value state = client.request("GET", "/engine/state").json();
  EXPECT_EQ(at(state, "model.name"), Value("fake/model"));
  EXPECT_EQ(at(state, "running"), Value(0));
  EXPECT_EQ(at(state, "cache.groups.0.blocks"), Value(60));
  EXPECT_EQ(at(state, "cache.groups.0.runs"), Value("3u2s5c50f"));
  EXPECT_EQ(at(state, "sequences.0.computed_tokens"), Value(8));
  ASSERT_NE(at(state, "default_sampling").find("temperature"), nullptr);
}

TEST(EngineState, AsksForAKeyWhereThereAreKeysAndThePageDoesNot) {
  ServerOptions options;
  options.api_keys = {"secret"};
  TestServer server({}, options);
  TestClient client(server.port());
  EXPECT_EQ(client.request("GET", "/engine/state").status, 401);
  EXPECT_EQ(client.request("GET", "/engine/state", "", "Authorization: Bearer secret\r\n").status,
            200);
  EXPECT_EQ(client.request("GET", "/", "", kGzip).status, 200);
}

}  // namespace
}  // namespace octavo::serve
