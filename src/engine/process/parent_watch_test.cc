#include "engine/process/parent_watch.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>

namespace octavo {
namespace {

class ParentWatchTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends_), 0); }
  void TearDown() override {
    close(ends_[1]);
    if (parent_lives_) close(ends_[0]);
  }
  void kill_parent() {
    close(ends_[0]);
    parent_lives_ = false;
  }
  int ends_[2];
  bool parent_lives_ = true;
};

TEST_F(ParentWatchTest, NoticesThatTheParentIsGoneThoughSomethingIsLeftToRead) {
  ASSERT_EQ(write(ends_[0], "x", 1), 1);
  std::promise<void> gone;
  const ParentWatch watch(ends_[1], [&] { gone.set_value(); });
  kill_parent();
  gone.get_future().wait();
}

TEST_F(ParentWatchTest, EndsWithoutACallWhileTheParentLives) {
  bool called = false;
  {
    const ParentWatch watch(ends_[1], [&] { called = true; });
  }
  kill_parent();
  EXPECT_FALSE(called);
}

}  // namespace
}  // namespace octavo
