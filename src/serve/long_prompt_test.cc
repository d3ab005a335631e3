// A prompt that takes long to encode holds up nobody but its sender.
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <latch>
#include <semaphore>
#include <string>

#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

using namespace std::chrono_literals;

constexpr size_t kLong = 1 << 20;

std::string completion(const std::string& prompt, int max_tokens, bool stream) {
  return R"({"model": "fake/model", "prompt": ")" + prompt + R"(", "max_tokens": )" +
         std::to_string(max_tokens) + (stream ? R"(, "stream": true})" : "}");
}

// A server of two I/O threads whose encode() of a long prompt waits until it is told to go on.
class LongPrompts : public testing::Test {
 protected:
  void encode(std::string_view text) {
    if (text.size() < kLong) return;
    begun_.release();
    go_on_.wait();
  }
  std::counting_semaphore<2> begun_{0};
  std::latch go_on_{1};
  TestServer server_{{.step_seconds = 0.0002,
                      .max_model_len = 4 << 20,
                      .on_encode = [this](std::string_view text) { encode(text); }},
                     {.io_threads = 2}};
};

TEST_F(LongPrompts, HoldUpNeitherStreamsNorShortPromptsWhileEveryThreadForThemEncodesOne) {
  TestClient streaming(server_.port());
  streaming.send_request("POST", "/v1/completions", completion("hi", 500, true));
  ASSERT_TRUE(streaming.read_until("data: "));

  TestClient first(server_.port()), second(server_.port());
  const std::string body = completion(std::string(kLong, 'x'), 1, false);
  const auto post = [&](TestClient& client) {
    return std::async(std::launch::async,
                      [&client, &body] { return client.post("/v1/completions", body); });
  };
  auto first_answer = post(first), second_answer = post(second);
  // Both encode, and the others have to go on without their threads.
  EXPECT_TRUE(begun_.try_acquire_for(30s) && begun_.try_acquire_for(30s));
  EXPECT_TRUE(streaming.read_until("data: [DONE]"));
  TestClient third(server_.port());
  EXPECT_EQ(third.post("/v1/completions", completion("hi", 1, false)).status, 200);

  go_on_.count_down();
  EXPECT_EQ(first_answer.get().status, 200);
  EXPECT_EQ(second_answer.get().status, 200);
}

}  // namespace
}  // namespace octavo::serve
