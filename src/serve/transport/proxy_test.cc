// Who a request comes from behind proxies, and paths below a prefix.
#include "serve/transport/proxy.h"

#include <gtest/gtest.h>

#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

using Strings = std::vector<std::string>;

HttpRequest from(std::string client, HttpHeaders headers) {
  return {.headers = std::move(headers), .remote = client + ":1", .client = client};
}

std::string client_seen(const Strings& trusted, std::string peer, HttpHeaders headers) {
  const auto proxies = TrustedProxies::parse(trusted);
  EXPECT_TRUE(proxies.ok()) << proxies.status().message();
  HttpRequest request = from(std::move(peer), std::move(headers));
  proxies->apply(request);
  return request.client;
}

TEST(TrustedProxies, NobodyIsBelievedUnlessNamed) {
  const HttpHeaders headers = {{"X-Forwarded-For", "1.2.3.4"}, {"X-Forwarded-Proto", "https"}};
  EXPECT_EQ(client_seen({}, "127.0.0.1", headers), "127.0.0.1");
  EXPECT_EQ(client_seen({"10.0.0.1"}, "127.0.0.1", headers), "127.0.0.1");
  EXPECT_EQ(client_seen({"127.0.0.1"}, "127.0.0.1", headers), "1.2.3.4");
  EXPECT_EQ(client_seen({"*"}, "9.9.9.9", headers), "1.2.3.4");
  EXPECT_EQ(client_seen({"unix"}, "unix", headers), "1.2.3.4");
  EXPECT_EQ(client_seen({"127.0.0.1"}, "unix", headers), "unix");
  EXPECT_EQ(client_seen({"127.0.0.1"}, "127.0.0.1", {}), "127.0.0.1");
}

TEST(TrustedProxies, NetworksHoldTheirAddresses) {
  const auto proxies =
      TrustedProxies::parse({"10.0.0.0/8, 192.168.16.0/20", "2001:db8::/33", "::1"});
  ASSERT_TRUE(proxies.ok());
  for (const char* inside : {"10.255.0.1", "192.168.31.255", "2001:db8:7fff::1", "::1"}) {
    EXPECT_TRUE(proxies->trusts(inside)) << inside;
  }
  for (const char* outside : {"11.0.0.1", "192.168.32.0", "2001:db8:8000::1", "::2", "unix", "-"}) {
    EXPECT_FALSE(proxies->trusts(outside)) << outside;
  }
  EXPECT_TRUE(TrustedProxies::parse({"0.0.0.0/0"})->trusts("1.2.3.4"));
  EXPECT_FALSE(TrustedProxies::parse({"0.0.0.0/0"})->trusts("::1"));
}

TEST(TrustedProxies, TheClientIsTheLastAddressThatIsNoProxys) {
  const auto seen = [](const std::string& list) {
    return client_seen({"10.0.0.0/8"}, "10.0.0.1", {{"X-Forwarded-For", list}});
  };
  EXPECT_EQ(seen("6.6.6.6, 1.2.3.4, 10.0.0.2"), "1.2.3.4")
      << "the first one is the client's own word";
  EXPECT_EQ(seen("10.0.0.3, 10.0.0.2"), "10.0.0.3");
  EXPECT_EQ(seen("1.2.3.4:567"), "1.2.3.4");
  EXPECT_EQ(seen("[2001:DB8::0:1]:567"), "2001:db8::1");
  EXPECT_EQ(seen("::ffff:1.2.3.4"), "1.2.3.4");
  EXPECT_EQ(client_seen({"10.0.0.1"}, "10.0.0.1",
                        {{"x-forwarded-for", "6.6.6.6"}, {"X-Forwarded-For", "1.2.3.4"}}),
            "1.2.3.4")
      << "several headers are one list";
}

TEST(TrustedProxies, WhatIsNoAddressIsNotAClient) {
  const auto seen = [](const std::string& list) {
    return client_seen({"10.0.0.0/8"}, "10.0.0.1", {{"X-Forwarded-For", list}});
  };
  for (const char* list : {"unknown", "", ",", "1.2.3.4, unknown", "1.2.3", "[::1", "a:b:c",
                           "1.2.3.4 5.6.7.8", "\"x", "unix", "*"}) {
    EXPECT_EQ(seen(list), "10.0.0.1") << list;
  }
  EXPECT_EQ(seen("unknown, 10.0.0.2"), "10.0.0.2");
}

TEST(TrustedProxies, TheSchemeIsOneOfTwo) {
  const auto proxies = TrustedProxies::parse({"*"});
  for (const auto& [value, scheme] :
       {std::pair{"https", "https"}, {"http, https", "https"}, {"javascript", "http"}}) {
    HttpRequest request = from("1.1.1.1", {{"X-Forwarded-Proto", value}});
    proxies->apply(request);
    EXPECT_EQ(request.scheme, scheme);
  }
}

TEST(TrustedProxies, MistakesAreNamed) {
  for (const char* entry : {"10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "host",
                            "10.0.0.0/8/8", "1.2.3.4/1e1"}) {
    const auto proxies = TrustedProxies::parse({entry});
    ASSERT_FALSE(proxies.ok()) << entry;
    EXPECT_NE(proxies.status().message().find(entry), std::string::npos);
  }
}

TEST(RootPath, IsAPath) {
  EXPECT_EQ(*parse_root_path("/api/v2/"), "/api/v2");
  EXPECT_EQ(*parse_root_path("/"), "");
  EXPECT_EQ(*parse_root_path(""), "");
  for (const char* text : {"api", "//host", "/a b", "/a?b", "/a\nb", "/\xc3\xb6"}) {
    EXPECT_FALSE(parse_root_path(text).ok()) << text;
  }
}

TEST(RootPath, RequestsWithAndWithoutItAreRouted) {
  ServerOptions options;
  options.root_path = "/octavo";
  options.api_keys = {"secret"};
  TestServer server({}, options);
  TestClient client(server.port());
  const std::string gzip = "Accept-Encoding: gzip\r\n";
  EXPECT_EQ(client.request("GET", "/version").status, 200);
  EXPECT_EQ(client.request("GET", "/octavo/version").status, 200);
  EXPECT_EQ(client.request("GET", "/octavo/", "", gzip).status, 200);
  EXPECT_EQ(client.request("GET", "/octavo/page/style.css", "", gzip).status, 200);
  EXPECT_EQ(client.request("GET", "/octavoversion").status, 401);
  EXPECT_EQ(client.request("GET", "/octavo/octavo/version").status, 401);
  EXPECT_EQ(client.request("GET", "/octavo/v1/models").status, 401) << "keys hold below it too";
  const TestResponse redirect = client.request("GET", "/octavo");
  EXPECT_EQ(redirect.status, 307);
  EXPECT_EQ(redirect.header("location"), "/octavo/");
}

}  // namespace
}  // namespace octavo::serve
