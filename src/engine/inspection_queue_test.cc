// Looking at an engine: who gets which state, and how many are made.
#include "engine/inspection_queue.h"

#include <gtest/gtest.h>

namespace octavo {
namespace {

using State = std::shared_ptr<const EngineState>;

State state_with_running(int running) {
  auto state = std::make_shared<EngineState>();
  state->running = running;
  return state;
}

TEST(InspectionQueue, OneStateServesAllWhoWait) {
  InspectionQueue queue;
  std::vector<State> seen;
  const auto reader = [&](State state) { seen.push_back(std::move(state)); };
  EXPECT_TRUE(queue.ask(reader));
  EXPECT_FALSE(queue.ask(reader));
  EXPECT_TRUE(seen.empty());
  const State state = state_with_running(3);
  queue.answer(state);
  EXPECT_EQ(seen, (std::vector<State>{state, state}));
}

TEST(InspectionQueue, AFreshStateIsGivenAtOnceAndAbsenceIsNeverFresh) {
  InspectionQueue queue;
  int calls = 0;
  ASSERT_TRUE(queue.ask([](State) {}));
  queue.answer(nullptr);
  EXPECT_TRUE(queue.ask([&](State) { ++calls; }));
  queue.answer(state_with_running(1));
  EXPECT_FALSE(queue.ask([&](State state) { calls += state->running; }));
  EXPECT_EQ(calls, 2);
}

TEST(InspectionQueue, NoMoreThanTheLimitWait) {
  InspectionQueue queue;
  int waiting = 0, turned_away = 0;
  for (size_t i = 0; i < InspectionQueue::kMaxReaders; ++i)
    EXPECT_EQ(queue.ask([&](State) { ++waiting; }), i == 0);
  EXPECT_FALSE(queue.ask([&](State state) { turned_away += state == nullptr; }));
  EXPECT_EQ(turned_away, 1);
  EXPECT_EQ(waiting, 0);
}

TEST(InspectionQueue, ClosingLeavesNobodyWaiting) {
  InspectionQueue queue;
  int nulls = 0;
  const auto count = [&](State state) { nulls += state == nullptr; };
  ASSERT_TRUE(queue.ask(count));
  queue.close();
  EXPECT_FALSE(queue.ask(count));
  EXPECT_EQ(nulls, 2);
}

}  // namespace
}  // namespace octavo
