// What the router decides before a route sees the request, over real sockets.
#include <gtest/gtest.h>

#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

TEST(Router, TakesAMethodByItsWholeNameOnly) {
  TestServer server;
  TestClient client(server.port());
  for (const char* method : {"OST", "POS", "ET", "post", "PUT"}) {
    EXPECT_EQ(client.request(method, "/ping").status, 405) << method;
  }
  for (const char* method : {"GET", "POST", "HEAD"}) {
    EXPECT_EQ(client.request(method, "/ping").status, 200) << method;
  }
}

}  // namespace
}  // namespace octavo::serve
