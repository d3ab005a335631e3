#include "engine/process/request_books.h"

#include <gtest/gtest.h>

namespace octavo {
namespace {

using Keys = std::vector<int64_t>;

// Books in which keys stand for requests, and children do what the test says.
class Books {
 public:
  explicit Books(int max_num_seqs = 16, SchedulingPolicy policy = SchedulingPolicy::kFcfs)
      : books_(max_num_seqs, policy) {}

  void add(int64_t key, int answers = 1, int64_t priority = 0) {
    auto request = std::make_shared<Request>();
    request->key = RequestKey(key);
    request->prompt = std::make_shared<const std::vector<TokenId>>(1, static_cast<TokenId>(key));
    auto params = std::make_shared<SamplingParams>();
    params->n = answers;
    request->params = params;
    request->priority = priority;
    books_.add(std::move(request));
  }
  void cancel(int64_t key) { EXPECT_TRUE(books_.erase(RequestKey(key))); }
  void tokens(int64_t key, int count, int index = 0) {
    for (int i = 0; i < count; ++i) EXPECT_TRUE(enter(key, index, FinishReason::kNone));
  }
  bool enter(int64_t key, int index, FinishReason finish) {
    SequenceEvent event;
    event.request = RequestKey(key);
    event.index = index;
    event.has_token = true;
    event.finish = finish;
    return books_.enter(event);
  }
  Keys ready() {
    Keys keys;
    for (const auto& request : books_.take_ready()) keys.push_back(request->key.value);
    return keys;
  }
  // The child takes what it may have, and dies. The culprit's key, -1: none.
  int64_t death() {
    ready();
    const auto culprit = books_.child_died(now);
    return culprit ? culprit->key.value : -1;
  }
  RequestBooks& books() { return books_; }
  double now = 0;

 private:
  RequestBooks books_;
};

TEST(RequestBooks, EveryRequestIsHandedOverOnceAChild) {
  Books books;
  books.add(1);
  EXPECT_EQ(books.ready(), (Keys{1}));
  books.add(2);
  books.add(3);
  EXPECT_EQ(books.ready(), (Keys{2, 3}));
  EXPECT_EQ(books.ready(), (Keys{}));
  EXPECT_EQ(books.death(), -1);
  EXPECT_EQ(books.ready(), (Keys{1, 2, 3}));
}

TEST(RequestBooks, AfterTwoDeathsSuspectsComeOneByOneAndTheOthersAfterThem) {
  Books books;
  for (const int64_t key : {1, 2, 3}) books.add(key);
  books.death();
  books.ready();
  books.tokens(1, 3);
  books.death();
  books.add(4);
  EXPECT_EQ(books.ready(), (Keys{3}));
  EXPECT_EQ(books.ready(), (Keys{}));
  books.tokens(3, 2);
  EXPECT_EQ(books.ready(), (Keys{})) << "they may have been on their way when the child died";
  books.tokens(3, 1);
  EXPECT_EQ(books.ready(), (Keys{2}));
  EXPECT_EQ(books.books().num_waiting(), 2u);
  EXPECT_TRUE(books.enter(2, 0, FinishReason::kStop));
  EXPECT_EQ(books.ready(), (Keys{1, 4}));
  EXPECT_EQ(books.books().num_waiting(), 0u);
}

TEST(RequestBooks, WhoeverDiesWithAChildOfItsOwnIsTheCulpritAndFreesTheOthersOfSuspicion) {
  Books books;
  for (const int64_t key : {1, 2, 3}) books.add(key);
  EXPECT_EQ(books.death(), -1);
  EXPECT_FALSE(books.books().suspects_wait());
  EXPECT_EQ(books.death(), -1);
  EXPECT_TRUE(books.books().suspects_wait());
  EXPECT_EQ(books.death(), 3);
  EXPECT_FALSE(books.books().suspects_wait());
  EXPECT_EQ(books.ready(), (Keys{1, 2}));
}

TEST(RequestBooks, OneThatDiesBesideOthersIsTriedFirstInTheNextChild) {
  Books books;
  for (const int64_t key : {1, 2, 3}) books.add(key);
  books.death();
  books.death();
  books.ready();
  books.tokens(3, 3);
  EXPECT_EQ(books.ready(), (Keys{2}));
  EXPECT_EQ(books.death(), -1) << "it was not alone";
  EXPECT_EQ(books.ready(), (Keys{2}));
  EXPECT_EQ(books.death(), 2);
}

TEST(RequestBooks, TheNextInLineIsNoCulpritWhenOneOnTrialIsCancelledAsTheChildDies) {
  Books books;
  for (const int64_t key : {1, 2}) books.add(key);
  books.death();
  books.death();
  EXPECT_EQ(books.ready(), (Keys{2}));
  books.cancel(2);
  EXPECT_EQ(books.ready(), (Keys{1}));
  EXPECT_EQ(books.death(), -1);
}

TEST(RequestBooks, AChildThatDiesOfOtherThingsMakesNoCulpritOfARequestThatMovesOn) {
  Books books;
  books.add(1);
  for (int death = 0; death < 9; ++death) {
    EXPECT_EQ(books.death(), -1);
    EXPECT_EQ(books.ready(), (Keys{1}));
    books.tokens(1, 3);
  }
}

TEST(RequestBooks, ACulpritIsRememberedForAWhileAndMistakenForNoOther) {
  Books books;
  books.add(1);
  books.now = 1000;
  books.death();
  ASSERT_EQ(books.death(), 1);
  Request again;
  again.key = RequestKey(2);
  again.prompt = std::make_shared<const std::vector<TokenId>>(1, 1);
  again.params = std::make_shared<const SamplingParams>();
  EXPECT_TRUE(books.books().was_culprit(again, 1001));
  EXPECT_FALSE(books.books().was_culprit(again, 5000));
  Request longer = again, logprobs = again;
  longer.prompt = std::make_shared<const std::vector<TokenId>>(2, 1);
  EXPECT_FALSE(books.books().was_culprit(longer, 1001));
  auto params = std::make_shared<SamplingParams>();
  params->logprobs = 3;
  logprobs.params = params;
  EXPECT_FALSE(books.books().was_culprit(logprobs, 1001));
}

TEST(RequestBooks, ARequestMovesOnWhenAllItsAnswersDo) {
  Books books;
  books.add(1);
  books.add(2, /*answers=*/2);
  books.death();
  books.death();
  EXPECT_EQ(books.ready(), (Keys{2}));
  books.tokens(2, 5, 0);
  EXPECT_EQ(books.ready(), (Keys{}));
  EXPECT_TRUE(books.enter(2, 1, FinishReason::kLength));
  EXPECT_FALSE(books.enter(2, 1, FinishReason::kNone)) << "that answer has ended";
  EXPECT_EQ(books.ready(), (Keys{1}));
}

TEST(RequestBooks, ThoseThatNoStepHadRoomForAreNoSuspects) {
  Books first(2), urgent(2, SchedulingPolicy::kPriority);
  for (const int64_t key : {1, 2, 3, 4}) {
    first.add(key, 1, -key);
    urgent.add(key, 1, -key);
  }
  for (Books* books : {&first, &urgent}) {
    books->death();
    books->death();
  }
  EXPECT_EQ(first.ready(), (Keys{2}));
  EXPECT_EQ(urgent.ready(), (Keys{4}));
  first.cancel(2);
  urgent.cancel(4);
  EXPECT_EQ(first.ready(), (Keys{1}));
  EXPECT_EQ(urgent.ready(), (Keys{3}));
  first.cancel(1);
  urgent.cancel(3);
  EXPECT_EQ(first.ready(), (Keys{3, 4}));
  EXPECT_EQ(urgent.ready(), (Keys{1, 2}));
}

}  // namespace
}  // namespace octavo
