// Tests of what crosses between the processes of an engine: every value comes back as it was, and
// no bytes whatever do harm.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>

#include "engine/process/frames.h"

namespace octavo {
namespace {

Request full_request() {
  Request r;
  r.key = RequestKey(7);
  r.id = "cmpl-ü";
  r.prompt = std::make_shared<const std::vector<TokenId>>(std::vector<TokenId>{1, 2, 2147483647});
  SamplingParams p;
  p.n = 2;
  p.presence_penalty = 0.5f;
  p.seed = -5;
  p.stop = {"", "end\n"};
  p.stop_token_ids = {9};
  p.max_tokens.reset();
  p.logprobs = -1;
  p.logit_bias = {{3, -100.f}, {4, 1.5f}};
  p.allowed_token_ids = std::vector<TokenId>{};
  p.bad_words = {"bad"};
  p.detokenize = false;
  p.repetition_detection = {{8, 2, 3}};
  r.params = std::make_shared<const SamplingParams>(p);
  r.max_tokens = 12;
  r.eos_ids = {0};
  r.bad_words = {{5, 6}, {7}};
  r.priority = -3;
  r.arrival = 1.25;
  r.cache_salt = std::string("a\0b", 3);
  r.seed = ~uint64_t{0};
  r.progress.answers = {{{4, 5}, false}, {{6}, true}};
  r.progress.admitted = true;
  r.progress.num_cached = 16;
  r.progress.next_prompt_logprob = 3;
  return r;
}

SequenceEvent full_event() {
  SequenceEvent e;
  e.request = RequestKey(1);
  e.index = 1;
  e.sequence = SequenceId(99);
  e.has_token = true;
  e.token = {12, false, -0.5f, 3, {{1, -0.1f}, {2, -0.2f}}};
  e.prompt_tokens = 7;
  e.finish = FinishReason::kStop;
  e.stop_token = 12;
  e.hide_token = true;
  e.error = "none";
  e.prompt_logprobs = {e.token, {}};
  e.prompt_logprobs_first = 4;
  e.num_cached_tokens = 32;
  e.first_scheduled = 2.5;
  return e;
}

template <typename T>
std::string bytes_of(const T& value) {
  wire::Writer writer;
  writer(value);
  return writer.take();
}

// What is read back from a value's bytes has the same bytes again.
template <typename T>
void expect_round_trip(const T& value) {
  const std::string bytes = bytes_of(value);
  T copy;
  wire::Reader reader(bytes);
  reader(copy);
  EXPECT_TRUE(reader.done());
  EXPECT_EQ(bytes_of(copy), bytes);
}

TEST(Wire, EveryValueComesBackAsItWas) {
  expect_round_trip(full_request());
  expect_round_trip(full_event());
  EngineStart start;
  start.options.model.model = "m";
  start.options.model.max_model_len = 77;
  start.options.scheduler.policy = "priority";
  start.log_level = 3;
  expect_round_trip(start);
  ModelInfo info;
  info.eos_token_ids = {1, 2};
  info.default_sampling.top_k = 20;
  expect_round_trip(info);
  expect_round_trip(EngineStats{.running = 3, .kv_cache_usage = 0.5, .engine_cpu_seconds = 1});
  expect_round_trip(invalid_argument("no").with_param("seed"));
}

TEST(Wire, TheFieldsOfARequestComeBack) {
  const Request sent = full_request();
  const std::string bytes = bytes_of(sent);
  Request got;
  wire::Reader reader(bytes);
  reader(got);
  ASSERT_TRUE(reader.done());
  EXPECT_EQ(got.key, sent.key);
  EXPECT_EQ(*got.prompt, *sent.prompt);
  EXPECT_EQ(got.params->stop, sent.params->stop);
  EXPECT_EQ(got.params->max_tokens, std::nullopt);
  EXPECT_EQ(got.params->logit_bias, sent.params->logit_bias);
  ASSERT_TRUE(got.params->repetition_detection.has_value());
  EXPECT_EQ(got.params->repetition_detection->min_count, 3);
  EXPECT_EQ(got.bad_words, sent.bad_words);
  EXPECT_EQ(got.cache_salt, sent.cache_salt);
  EXPECT_EQ(got.seed, sent.seed);
  ASSERT_EQ(got.progress.answers.size(), 2u);
  EXPECT_EQ(got.progress.answers[0].tokens, (std::vector<TokenId>{4, 5}));
  EXPECT_TRUE(got.progress.answers[1].ended);
}

TEST(Wire, AValueCutShortOrWithMoreBehindItIsRefused) {
  const std::string bytes = bytes_of(full_request());
  for (size_t size = 0; size < bytes.size(); ++size) {
    Request got;
    wire::Reader reader(std::string_view(bytes).substr(0, size));
    reader(got);
    EXPECT_FALSE(reader.done()) << size;
  }
  const std::string longer = bytes + "x";
  Request got;
  wire::Reader reader(longer);
  reader(got);
  EXPECT_FALSE(reader.done());
}

TEST(Wire, BytesThatLieAreReadWithoutHarm) {
  std::mt19937 random(1);
  const std::string request = bytes_of(full_request()), event = bytes_of(full_event());
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = i % 2 ? request : event;
    for (int k = 0; k < 1 + i % 4; ++k)
      bytes[random() % bytes.size()] = static_cast<char>(random() % 3 == 0 ? 0xff : random());
    wire::Reader reader(bytes);
    if (i % 2) {
      Request got;
      reader(got);
      EXPECT_NE(got.prompt, nullptr);
      EXPECT_NE(got.params, nullptr);
    } else {
      std::vector<SequenceEvent> got;
      reader(got);
    }
  }
}

TEST(Wire, FlagsAndEnumsOutOfRangeAreRefused) {
  std::string bytes = bytes_of(true);
  bytes[0] = 2;
  bool flag = true;
  wire::Reader flags(bytes);
  flags(flag);
  EXPECT_FALSE(flags.ok());
  EXPECT_FALSE(flag);
  bytes = bytes_of(int32_t{static_cast<int32_t>(FinishReason::kError) + 1});
  FinishReason reason = FinishReason::kStop;
  wire::Reader enums(bytes);
  enums(reason);
  EXPECT_FALSE(enums.ok());
}

class FramesTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends_), 0); }
  void TearDown() override {
    for (const int end : ends_) close(end);
  }
  void hang_up() { shutdown(ends_[0], SHUT_RDWR); }
  int ends_[2];
};

TEST_F(FramesTest, FramesArriveInOrderHoweverLong) {
  FrameReader reader(ends_[1]);
  FrameWriter writer(ends_[0]);
  for (int i = 0; i < 200; ++i)
    writer.send(make_frame(MessageType::kProgress, std::string(i * 5000, 'a'), i));
  Frame frame;
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(reader.next(frame));
    std::string text;
    int number = -1;
    ASSERT_TRUE(frame.read(text, number));
    EXPECT_EQ(text.size(), i * 5000u);
    EXPECT_EQ(number, i);
  }
  writer.flush();
  hang_up();
  EXPECT_FALSE(reader.next(frame));
  EXPECT_TRUE(reader.error().ok());
}

TEST_F(FramesTest, AFrameCutShortIsTheEndAndAnImpossibleLengthAnError) {
  const std::string frame_bytes = make_frame(MessageType::kAskStats, int64_t{1});
  ASSERT_EQ(send(ends_[0], frame_bytes.data(), frame_bytes.size() - 1, 0),
            static_cast<ssize_t>(frame_bytes.size() - 1));
  hang_up();
  Frame frame;
  FrameReader cut(ends_[1]);
  EXPECT_FALSE(cut.next(frame));
  EXPECT_TRUE(cut.error().ok());

  int others[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, others), 0);
  ASSERT_EQ(send(others[0], "\xff\xff\xff\xff\x01", 5, 0), 5);
  FrameReader liar(others[1]);
  EXPECT_FALSE(liar.next(frame));
  EXPECT_FALSE(liar.error().ok());
  for (const int end : others) close(end);
}

TEST_F(FramesTest, AWriterWhosePeerIsGoneDropsFramesAndEnds) {
  hang_up();
  FrameWriter writer(ends_[0]);
  for (int i = 0; i < 100; ++i) writer.send(std::string(1 << 16, 'x'));
  writer.flush();
}

TEST_F(FramesTest, ManyLongEventsAreSplitOverFrames) {
  SequenceEvent longer = full_event();
  longer.token.top.assign(60000, {1, 0.5f});  // half a frame
  std::vector<SequenceEvent> events(9, longer);
  for (int i = 0; i < 9; ++i) events[i].index = i;
  FrameReader reader(ends_[1]);
  FrameWriter writer(ends_[0]);
  writer.send(make_event_frames(events, {}));
  int next = 0, frames = 0;
  for (Frame frame; next < 9 && reader.next(frame); ++frames) {
    EngineStats stats;
    std::vector<SequenceEvent> got;
    ASSERT_TRUE(frame.read(stats, got));
    for (const SequenceEvent& event : got) {
      EXPECT_EQ(event.index, next++);
      EXPECT_EQ(event.token.top.size(), 60000u);
    }
  }
  EXPECT_EQ(next, 9);
  EXPECT_GT(frames, 3);
}

}  // namespace
}  // namespace octavo
