// What may wait for clients that do not read, seen from an exchange: for one of them, and for all.
#include <gtest/gtest.h>

#include "serve/transport/http_exchange.h"

namespace octavo::serve {
namespace {

constexpr size_t kPerStream = 1000, kInAll = 2000, kShare = 100;

class SlowClients : public testing::Test {
 protected:
  struct NoSender final : ExchangeSender {
    void flush() override {}
  };

  ~SlowClients() override { ready_->close(); }  // streams and list hold each other

  std::shared_ptr<Exchange> make_stream() {
    auto stream = std::make_shared<Exchange>(ready_, &sender_, limits_);
    stream->begin_stream("text/event-stream");
    return stream;
  }
  // A stream whose socket is full: `bytes` of it wait.
  std::shared_ptr<Exchange> make_stuck_stream(size_t bytes) {
    auto stream = make_stream();
    std::string taken;
    EXPECT_TRUE(stream->write(std::string(bytes, 'x')));
    stream->take(taken);
    stream->set_unsent(bytes);
    return stream;
  }

  NoSender sender_;
  std::shared_ptr<ReadyList> ready_ = std::make_shared<ReadyList>([] {});
  std::shared_ptr<UnsentLimits> limits_ =
      std::make_shared<UnsentLimits>(kPerStream, kInAll, kShare);
};

TEST_F(SlowClients, AStreamIsCutOffWhenMoreWaitsThanMayForOne) {
  const auto stream = make_stuck_stream(600);
  EXPECT_TRUE(stream->write(std::string(400, 'x')));
  EXPECT_FALSE(stream->cut_off());
  EXPECT_FALSE(stream->write("x"));
  EXPECT_TRUE(stream->cut_off());
}

TEST_F(SlowClients, WhileAllIsTooMuchWhoKeepsMoreThanItsShareIsCutOff) {
  const auto modest = make_stuck_stream(50);
  const auto first = make_stuck_stream(900);
  const auto second = make_stuck_stream(900);
  EXPECT_TRUE(first->write(std::string(100, 'x')));  // 1,950 wait in all
  EXPECT_TRUE(second->write(std::string(60, 'x')));  // 2,010
  EXPECT_FALSE(first->write("x"));
  EXPECT_FALSE(second->write("x"));
  EXPECT_TRUE(modest->write("x"));
  EXPECT_TRUE(make_stream()->write(std::string(kShare, 'x')));
}

TEST_F(SlowClients, WhatHasBeenSentAndWhoHasLeftNoLongerCount) {
  const auto reader = make_stuck_stream(900);
  const auto leaver = make_stuck_stream(900);
  EXPECT_TRUE(reader->write(std::string(100, 'x')));
  EXPECT_EQ(limits_->total, 1900U);
  reader->set_unsent(0);
  EXPECT_EQ(limits_->total, 900U);
  leaver->mark_gone();
  leaver->detach();
  EXPECT_EQ(limits_->total, 0U);
}

TEST_F(SlowClients, AStreamWhoseClientKeepsUpCountsNothing) {
  const auto stream = make_stream();
  EXPECT_TRUE(stream->write(std::string(500, 'x')));
  EXPECT_EQ(limits_->total, 0U);
}

}  // namespace
}  // namespace octavo::serve
