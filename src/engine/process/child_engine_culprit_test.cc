// Tests of requests that kill each child that computes them: they are found and ended, and nobody
// beside them loses a token.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/process/testing_child_rig.h"

namespace octavo {
namespace {

// Requests whose last position is well before 300, under keys 10, 20, …
std::vector<std::shared_ptr<Request>> short_requests(int count) {
  std::vector<std::shared_ptr<Request>> requests;
  for (int i = 1; i <= count; ++i)
    requests.push_back(request_of(10 * i, 5 + i * 7 % 90, 60 + i * 13 % 80, 1 + i % 3));
  return requests;
}

// Adds them in the order of their keys. Returns how many answers they have.
size_t add_all(ChildRig& rig, std::vector<std::shared_ptr<Request>> requests) {
  std::sort(requests.begin(), requests.end(),
            [](const auto& a, const auto& b) { return a->key < b->key; });
  size_t answers = 0;
  for (const auto& request : requests) {
    answers += static_cast<size_t>(request->params->n);
    rig.engine().add(request);
  }
  return answers;
}

void expect_undisturbed(ChildRig& rig, const std::vector<std::shared_ptr<Request>>& requests) {
  for (const auto& request : requests) {
    for (int index = 0; index < request->params->n; ++index) {
      const ChildRig::Answer& answer = rig.answers.at({request->key.value, index});
      EXPECT_EQ(answer.tokens, undisturbed(*request, index)) << "request " << request->key.value;
      EXPECT_EQ(answer.error, "");
    }
  }
}

TEST(ChildEngineCulprit, ARequestWhosePromptKillsEveryChildIsEndedAndNoOther) {
  for (const int64_t key : {1, 75, 301}) {
    ChildRig rig;
    fatal_position = 300;
    const auto others = short_requests(30);
    auto requests = others;
    requests.push_back(request_of(key, 310, 50));
    ASSERT_TRUE(rig.wait_for_ends(add_all(rig, requests)));
    expect_undisturbed(rig, others);
    const ChildRig::Answer& culprit = rig.answers.at({key, 0});
    EXPECT_EQ(culprit.finish, FinishReason::kError);
    EXPECT_NE(culprit.error.find("this request ends the engine process"), std::string::npos);
    EXPECT_NE(culprit.error.find("op: the device is lost"), std::string::npos) << culprit.error;
    EXPECT_LE(rig.children, 5);
    EXPECT_TRUE(rig.fault().ok());
  }
}

TEST(ChildEngineCulprit, ARequestThatKillsEveryChildAmidItsAnswerKeepsTheTokensBefore) {
  ChildRig rig;
  fatal_position = 300;
  const auto others = short_requests(20);
  auto requests = others;
  const auto culprit = request_of(1, 240, 200);
  requests.push_back(culprit);
  ASSERT_TRUE(rig.wait_for_ends(add_all(rig, requests)));
  expect_undisturbed(rig, others);
  std::vector<TokenId> tokens = undisturbed(*culprit, 0);
  tokens.resize(61);  // the next one needs position 300
  EXPECT_EQ(rig.answers.at({1, 0}).tokens, tokens);
  EXPECT_EQ(rig.answers.at({1, 0}).finish, FinishReason::kError);
  EXPECT_TRUE(rig.fault().ok());
}

TEST(ChildEngineCulprit, TheCulpritIsFoundThoughTheChildWasKilledForOtherReasonsBefore) {
  ChildRig rig;
  for (int kill = 0; kill < 2; ++kill) rig.kill();
  fatal_position = 300;
  const auto others = short_requests(20);
  auto requests = others;
  requests.push_back(request_of(1, 310, 9));  // the oldest, so not alone when it is tried first
  ASSERT_TRUE(rig.wait_for_ends(add_all(rig, requests)));
  expect_undisturbed(rig, others);
  EXPECT_EQ(rig.answers.at({1, 0}).finish, FinishReason::kError);
  EXPECT_TRUE(rig.fault().ok());
}

TEST(ChildEngineCulprit, SeveralRequestsThatKillEveryChildAreAllFound) {
  ChildRig rig;
  fatal_position = 300;
  const auto others = short_requests(20);
  const std::vector<int64_t> culprits = {1, 55, 56, 201};
  auto requests = others;
  for (const int64_t key : culprits) requests.push_back(request_of(key, 310, 9));
  ASSERT_TRUE(rig.wait_for_ends(add_all(rig, requests)));
  expect_undisturbed(rig, others);
  for (const int64_t key : culprits)
    EXPECT_EQ(rig.answers.at({key, 0}).finish, FinishReason::kError);
  EXPECT_TRUE(rig.fault().ok());
}

TEST(ChildEngineCulprit, RequestsOfTheSameShapeOneAfterTheOtherDoNotEndTheEngine) {
  ChildRig rig;
  for (int attempt = 0; attempt < 4; ++attempt) {
    fatal_position = 300;
    const size_t ends = static_cast<size_t>(2 * attempt);
    rig.engine().add(request_of(100 + attempt, 310, 9));
    ASSERT_TRUE(rig.wait_for_ends(ends + 1));
    EXPECT_EQ(rig.answers.at({100 + attempt, 0}).finish, FinishReason::kError);
    rig.engine().add(request_of(200 + attempt, 20, 30));
    ASSERT_TRUE(rig.wait_for_ends(ends + 2));
    EXPECT_EQ(rig.answers.at({200 + attempt, 0}).finish, FinishReason::kLength);
  }
  EXPECT_TRUE(rig.fault().ok());
}

TEST(ChildEngineCulprit, TheSameRequestTriedAgainKillsNoChild) {
  ChildRig rig;
  fatal_position = 300;
  const auto culprit = request_of(1, 310, 9, /*n=*/2);
  rig.engine().add(culprit);
  ASSERT_TRUE(rig.wait_for_ends(2));
  rig.engine().add(request_of(2, 20, 30));
  ASSERT_TRUE(rig.wait_for_ends(3));
  const int children = rig.children;
  auto again = std::make_shared<Request>(*culprit);
  again->key = RequestKey(3);
  rig.engine().add(again);
  rig.engine().add(request_of(4, 20, 30));
  ASSERT_TRUE(rig.wait_for_ends(6));
  for (const int index : {0, 1}) {
    EXPECT_EQ(rig.answers.at({3, index}).finish, FinishReason::kError);
    EXPECT_NE(rig.answers.at({3, index}).error.find("a short while ago"), std::string::npos);
  }
  EXPECT_EQ(rig.children, children);
}

TEST(ChildEngineCulprit, ADeviceThatServesNobodyIsAFaultThoughEachRequestIsACulprit) {
  ChildRig rig;
  fatal_position = 0;
  for (int key = 1; key <= 6; ++key) rig.engine().add(request_of(key, 10, 10));
  ASSERT_TRUE(rig.wait_for_fault());
  EXPECT_LE(rig.children, 1 + 2 * ChildEngine::kMaxRestarts);
}

TEST(ChildEngineCulprit, WhoeverComesWhileSuspectsAreTriedIsServedAfterThem) {
  ChildRig rig;
  fatal_position = 300;
  rig.engine().add(request_of(0, 240, 200));
  std::vector<std::shared_ptr<Request>> requests;
  for (int key = 1; rig.children < 4 && key < 1000; ++key) {
    requests.push_back(request_of(key, 40, 50));
    rig.engine().add(requests.back());
    pause_ms(1);
  }
  ASSERT_TRUE(rig.wait_for_ends(requests.size() + 1));
  expect_undisturbed(rig, requests);
  EXPECT_EQ(rig.answers.at({0, 0}).finish, FinishReason::kError);
}

}  // namespace
}  // namespace octavo
