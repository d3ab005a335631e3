// What is known before a model is loaded, and that a server runs on just that.
#include "serve/server.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "serve/testing_server.h"
#include "serve/transport/testing_tls.h"

namespace octavo::serve {
namespace {

ServerOptions local() {
  ServerOptions options;
  options.host = "127.0.0.1";
  options.port = 0;
  return options;
}

TEST(PrepareServer, RefusesWhatAServerCouldNotRunOn) {
  EXPECT_TRUE(prepare_server(local()).ok());
  const auto refused = [](auto change) {
    ServerOptions options = local();
    change(options);
    return !prepare_server(options).ok();
  };
  EXPECT_TRUE(refused([](ServerOptions& o) { o.root_path = "api"; }));
  EXPECT_TRUE(refused([](ServerOptions& o) { o.forwarded_allow_ips = {"host"}; }));
  EXPECT_TRUE(refused([](ServerOptions& o) { o.tls.certfile = "/absent"; }));
  EXPECT_TRUE(refused([](ServerOptions& o) { o.tls.cert_reqs = 1; }));
  EXPECT_TRUE(refused([](ServerOptions& o) { o.api_key_file = "/absent"; }));
}

TEST(PrepareServer, APortInUseIsAnErrorThatNamesIt) {
  TestServer server;
  FakeEngine engine;
  ServerOptions options = local();
  options.port = server.port();
  for (const Status& status : {prepare_server(options).status(), run_server(engine, options)}) {
    EXPECT_FALSE(status.ok());
    EXPECT_NE(status.message().find("127.0.0.1:" + std::to_string(server.port())),
              std::string::npos);
    EXPECT_NE(status.message().find("in use"), std::string::npos);
  }
  options.host = "not an address";
  EXPECT_FALSE(prepare_server(options).ok());
  EXPECT_FALSE(run_server(engine, options).ok());
}

TEST(PrepareServer, LeavesThePortToTheServer) {
  int port = 0;
  {
    TestServer server;
    port = server.port();
  }
  ServerOptions options = local();
  options.port = port;
  EXPECT_TRUE(prepare_server(options).ok());
  EXPECT_TRUE(prepare_server(options).ok());
}

// A secret that is mounted, read and taken away again while the model loads.
TEST(PrepareServer, ReadsCertificatesAndKeysForGood) {
  const TestCertificate certificate;
  const std::string key_file = certificate.folder + "/keys";
  std::ofstream(key_file) << "secret\n";
  ServerOptions options = local();
  options.tls = {.certfile = certificate.certfile, .keyfile = certificate.keyfile};
  options.api_key_file = key_file;
  const auto prepared = prepare_server(options);
  ASSERT_TRUE(prepared.ok()) << prepared.status().message();
  for (const std::string& file : {certificate.certfile, certificate.keyfile, key_file}) {
    std::filesystem::remove(file);
  }
  FakeEngine engine;
  std::promise<Listening> ready;
  options.on_ready = [&](const Listening& at) { ready.set_value(at); };
  Status ended = ok_status();
  std::thread thread([&] {
    ended = run_server(engine, options, *prepared);
    if (!ended.ok()) ready.set_value({.interrupt = [] {}});
  });
  const Listening at = ready.get_future().get();
  {
    TestClient socket(at.port);
    TlsTestClient client(socket.fd());
    EXPECT_TRUE(client.connected());
    client.write("GET /v1/models HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer secret\r\n\r\n");
    EXPECT_EQ(client.read(15), "HTTP/1.1 200 OK");
  }
  at.interrupt();
  thread.join();
  EXPECT_TRUE(ended.ok()) << ended.message();
}

}  // namespace
}  // namespace octavo::serve
