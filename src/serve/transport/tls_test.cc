// TLS over real sockets: what is agreed on, what is refused, what a slow client costs, and files
// that are wrong or change.
#include "serve/transport/tls.h"

#include <gtest/gtest.h>

#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <memory>
#include <semaphore>
#include <thread>

#include "serve/testing_server.h"
#include "serve/transport/testing_bare_server.h"
#include "serve/transport/testing_tls.h"

namespace octavo::serve {
namespace {

constexpr std::string_view kGet = "GET /who HTTP/1.1\r\nHost: t\r\n\r\n";

HttpServerOptions tls_options(const TlsOptions& tls) {
  auto acceptor = TlsAcceptor::load(tls);
  EXPECT_TRUE(acceptor.ok()) << acceptor.status().message();
  return {.keep_alive_seconds = 0.3, .read_seconds = 1, .tls = acceptor.ok() ? *acceptor : nullptr};
}

class Tls : public ::testing::Test {
 protected:
  TlsOptions options() const {
    return {.certfile = certificate_.certfile, .keyfile = certificate_.keyfile};
  }
  TestCertificate certificate_;
};

TEST_F(Tls, SpeaksVersions12And13AndHttp11) {
  BareServer server(tls_options(options()));
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TestClient socket(server.port());
    TlsTestClient client(socket.fd(), version);
    ASSERT_TRUE(client.connected());
    EXPECT_EQ(SSL_version(client.ssl()), version);
    EXPECT_EQ(client.protocol(), "http/1.1");
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(client.write(kGet));
      EXPECT_TRUE(client.read(15) == "HTTP/1.1 200 OK");
      std::string rest;
      while (!rest.ends_with("127.0.0.1 https")) {
        const std::string more = client.read(1);
        ASSERT_FALSE(more.empty()) << rest;
        rest += more;
      }
    }
    EXPECT_TRUE(client.closed_cleanly()) << "the idle connection ends with an alert";
  }
}

TEST_F(Tls, OlderVersionsAndOtherProtocolsAreRefused) {
  BareServer server(tls_options(options()));
  TestClient old_socket(server.port());
  EXPECT_FALSE(TlsTestClient(old_socket.fd(), TLS1_1_VERSION).connected());
  TestClient h2_socket(server.port());
  EXPECT_FALSE(TlsTestClient(h2_socket.fd(), TLS1_3_VERSION, "h2").connected());
  TestClient plain_socket(server.port());
  EXPECT_TRUE(TlsTestClient(plain_socket.fd(), TLS1_3_VERSION, "").connected());
}

TEST_F(Tls, PlainHttpIsToldWhatIsWrong) {
  BareServer server(tls_options(options()));
  TestClient client(server.port());
  const TestResponse response = client.request("GET", "/who");
  EXPECT_EQ(response.status, 400);
  EXPECT_NE(response.body.find("https://"), std::string::npos);
  shutdown(client.fd(), SHUT_WR);
  EXPECT_TRUE(client.closed_by_server(2));
}

TEST_F(Tls, GarbageAndSilenceEndTheConnection) {
  BareServer server(tls_options(options()));
  TestClient garbage(server.port()), cut_short(server.port());
  garbage.send(std::string(3000, '\x17'));
  EXPECT_TRUE(garbage.closed_by_server(1));
  cut_short.send("\x16\x03\x01\x02");
  shutdown(cut_short.fd(), SHUT_WR);
  EXPECT_TRUE(cut_short.closed_by_server(1));
  TestClient silent(server.port());
  EXPECT_TRUE(silent.closed_by_server(5)) << "read_seconds hold for the handshake";
}

// Holds up the second handshake of an acceptor's, where OpenSSL has just read what the client
// wants, until it is let go.
class HeldHandshake {
 public:
  explicit HeldHandshake(const TlsAcceptor& acceptor) {
    SSL_CTX_set_client_hello_cb(acceptor.context(), on_hello, this);
  }
  void wait_until_held() { held_.acquire(); }
  void let_go() { go_.release(); }

 private:
  static int on_hello(SSL*, int*, void* self) {
    auto& handshake = *static_cast<HeldHandshake*>(self);
    if (++handshake.hellos_ == 2) {
      handshake.held_.release();
      handshake.go_.acquire();
    }
    return SSL_CLIENT_HELLO_SUCCESS;
  }
  std::atomic<int> hellos_ = 0;
  std::binary_semaphore held_{0}, go_{0};
};

TEST_F(Tls, AHandshakeThatTakesLongHoldsUpNobodyWhoIsIn) {
  HttpServerOptions server_options = tls_options(options());
  server_options.keep_alive_seconds = 60;
  HeldHandshake handshake(*server_options.tls);
  BareServer server(server_options);
  TestClient socket(server.port()), slow_socket(server.port());
  TlsTestClient client(socket.fd());
  ASSERT_TRUE(client.connected());
  constexpr size_t kBody = 200000;
  const auto ask = [&] {
    return client.write("GET / HTTP/1.1\r\nHost: t\r\n\r\n") && client.read(kBody).size() == kBody;
  };
  ASSERT_TRUE(ask()) << "the server has the end of the handshake, too";
  bool connected = false;
  std::thread slow([&] { connected = TlsTestClient(slow_socket.fd()).connected(); });
  handshake.wait_until_held();
  for (bool answered = true; int i : {1, 2, 3, 4, 5}) {
    answered = answered && ask();
    EXPECT_TRUE(answered) << i;
  }
  handshake.let_go();
  slow.join();
  EXPECT_TRUE(connected);
}

TEST_F(Tls, AServerMayEndWhileAHandshakeIsUnderWay) {
  HttpServerOptions server_options = tls_options(options());
  HeldHandshake handshake(*server_options.tls);
  auto server = std::make_unique<BareServer>(server_options);
  TestClient first_socket(server->port()), slow_socket(server->port());
  ASSERT_TRUE(TlsTestClient(first_socket.fd()).connected());
  bool connected = true;
  std::thread slow([&] { connected = TlsTestClient(slow_socket.fd()).connected(); });
  handshake.wait_until_held();
  std::thread end([&] { server.reset(); });
  slow.join();
  EXPECT_FALSE(connected) << "the server closes the connection without waiting for the handshake";
  handshake.let_go();
  end.join();
}

TEST_F(Tls, ASlowReaderGetsEveryByteInOrder) {
  BareServer server(tls_options(options()));
  TestClient socket(server.port(), 4096);
  TlsTestClient client(socket.fd());
  ASSERT_TRUE(client.connected());
  constexpr size_t kAnswers = 30, kBody = 200000;
  std::string requests;
  for (size_t i = 0; i < kAnswers; ++i) requests += "GET / HTTP/1.1\r\nHost: t\r\n\r\n";
  ASSERT_TRUE(client.write(requests));
  size_t bodies = 0;
  std::string text;
  while (bodies < kAnswers * kBody) {
    const std::string more = client.read(3000);
    ASSERT_FALSE(more.empty()) << bodies;
    bodies += static_cast<size_t>(std::count(more.begin(), more.end(), 'x'));
  }
}

TEST_F(Tls, APeerThatMakesTlsTalkAndDoesNotListenIsCutOff) {
  BareServer server(tls_options(options()));
  TestClient socket(server.port(), 4096);
  TlsTestClient client(socket.fd());
  ASSERT_TRUE(client.connected());
  // The answer fills the socket; from then on each update of keys asks for another one back.
  ASSERT_TRUE(client.write("GET /never HTTP/1.1\r\nHost: t\r\n\r\n"));
  bool open = true;
  for (int i = 0; i < 400000 && open; ++i) {
    open = SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED) == 1 &&
           SSL_do_handshake(client.ssl()) == 1;
  }
  EXPECT_FALSE(open);
}

TEST_F(Tls, ClientsCertificatesAreCheckedAsAskedFor) {
  TlsOptions with_client = options();
  with_client.ca_certs = certificate_.certfile;
  for (const int reqs : {0, 1, 2}) {
    with_client.cert_reqs = reqs;
    BareServer server(tls_options(with_client));
    TestClient socket(server.port());
    TlsTestClient client(socket.fd(), TLS1_2_VERSION);
    EXPECT_EQ(client.connected(), reqs < 2) << reqs;
  }
}

TEST_F(Tls, AServerStreamsOverIt) {
  ServerOptions server_options;
  server_options.tls = options();
  TestServer server({}, server_options);
  TestClient socket(server.port());
  TlsTestClient client(socket.fd());
  const std::string body = R"({"prompt":"x","max_tokens":50,"stream":true})";
  ASSERT_TRUE(
      client.write("POST /v1/completions HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
                   "Content-Type: application/json\r\nContent-Length: " +
                   std::to_string(body.size()) + "\r\n\r\n" + body));
  const std::string answer = client.read(1 << 20);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(answer.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"));
  EXPECT_TRUE(client.closed_cleanly());
}

TEST_F(Tls, AClientThatAsksAndLeavesIsNotWorkedFor) {
  ServerOptions server_options;
  server_options.tls = options();
  TestServer server({}, server_options);
  TestClient socket(server.port());
  TlsTestClient client(socket.fd());
  const std::string body = R"({"prompt":"x","max_tokens":1000000,"stream":true})";
  ASSERT_TRUE(
      client.write("POST /v1/completions HTTP/1.1\r\nHost: t\r\n"
                   "Content-Type: application/json\r\nContent-Length: " +
                   std::to_string(body.size()) + "\r\n\r\n" + body));
  SSL_shutdown(client.ssl());
  EXPECT_TRUE(socket.closed_by_server(5)) << "the stream would go on for minutes";
  EXPECT_TRUE(server.engine().wait_until_running(0));
}

TEST_F(Tls, FilesThatChangeAreUsedWhenAskedFor) {
  TlsOptions refreshing = options();
  refreshing.refresh = true;
  BareServer fixed(tls_options(options())), changing(tls_options(refreshing));
  const auto serial = [](BareServer& server) {
    TestClient socket(server.port());
    return TlsTestClient(socket.fd()).serial();
  };
  const std::string before = serial(changing);
  EXPECT_FALSE(before.empty());
  certificate_.renew();
  const std::string after = serial(changing);
  EXPECT_NE(after, before);
  EXPECT_EQ(serial(fixed), before);
  std::ofstream(certificate_.certfile) << "no certificate";
  EXPECT_EQ(serial(changing), after) << "what cannot be used leaves the old one";
  certificate_.renew();
  EXPECT_NE(serial(changing), after);
}

TEST_F(Tls, WrongFilesAreNamed) {
  const auto message = [](const TlsOptions& options) {
    const auto acceptor = TlsAcceptor::load(options);
    EXPECT_FALSE(acceptor.ok());
    return acceptor.ok() ? "" : acceptor.status().message();
  };
  const auto has = [](const std::string& text, std::string_view words) {
    return text.find(words) != std::string::npos;
  };
  TestCertificate other;
  TlsOptions wrong = options();
  wrong.certfile = certificate_.folder + "/absent.pem";
  EXPECT_TRUE(has(message(wrong), "--ssl-certfile: cannot use " + wrong.certfile));
  EXPECT_TRUE(has(message(wrong), "No such file"));
  wrong.certfile = certificate_.keyfile;
  EXPECT_TRUE(has(message(wrong), "--ssl-certfile"));
  wrong = options();
  wrong.keyfile = other.keyfile;
  EXPECT_TRUE(has(message(wrong), "--ssl-keyfile")) << "the key of another certificate";
  wrong.keyfile = "";
  EXPECT_TRUE(has(message(wrong), "for want of --ssl-keyfile"));
  wrong = {.keyfile = certificate_.keyfile};
  EXPECT_TRUE(has(message(wrong), "--ssl-keyfile needs --ssl-certfile"));
  wrong = options();
  wrong.cert_reqs = 2;
  EXPECT_TRUE(has(message(wrong), "--ssl-cert-reqs needs --ssl-ca-certs"));
  wrong.ca_certs = certificate_.keyfile;
  EXPECT_TRUE(has(message(wrong), "--ssl-ca-certs"));
  wrong = options();
  wrong.ciphers = "NO-SUCH-CIPHER";
  EXPECT_TRUE(has(message(wrong), "--ssl-ciphers"));
}

}  // namespace
}  // namespace octavo::serve
