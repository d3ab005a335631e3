// Tests of the worker thread: what it does between steps, and that steps come first.
#include "engine/executor/worker_executor.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace octavo {
namespace {

using std::chrono::milliseconds;

// Notes its calls in order, and has a given number of pieces to prepare. Any thread.
struct Notes {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> calls;
  int forwards = 0, preparations = 0;
  int in_flight = 0;            // launched, not collected
  int pieces = 0;               // after so many prepare() says that there is no more
  bool out_of_memory = false;   // prepare() throws
  bool hold_preparing = false;  // prepare() does not return while it is set
  int64_t too_large = -1;       // the step whose collect() throws

  template <typename Condition>
  void wait_until(Condition&& condition) {
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), condition));
  }
  void release() {
    std::lock_guard lock(mutex);
    hold_preparing = false;
    changed.notify_all();
  }
};

class NotingRunner : public StepRunner {
 public:
  explicit NotingRunner(Notes& notes) : notes_(notes) {}

  void forward(const BatchPlan& plan) override {
    std::lock_guard lock(notes_.mutex);
    notes_.calls.push_back("step " + std::to_string(plan.step.value));
    ++notes_.forwards;
    ++notes_.in_flight;
    notes_.changed.notify_all();
  }
  void finish(const BatchPlan& plan, const StepMasks&) override {
    std::lock_guard lock(notes_.mutex);
    finished_.push_back(plan.step);
  }
  StepResult collect() override {
    std::lock_guard lock(notes_.mutex);
    StepResult result;
    result.step = finished_.front();
    finished_.pop_front();
    --notes_.in_flight;
    if (result.step.value == notes_.too_large) throw std::bad_alloc();
    return result;
  }
  bool prepare() override {
    std::unique_lock lock(notes_.mutex);
    EXPECT_EQ(notes_.in_flight, 0);
    notes_.calls.emplace_back("prepare");
    ++notes_.preparations;
    notes_.changed.notify_all();
    notes_.changed.wait(lock, [&] { return !notes_.hold_preparing; });
    if (notes_.out_of_memory) throw std::bad_alloc();
    return notes_.preparations <= notes_.pieces;
  }

 private:
  Notes& notes_;
  std::deque<StepId> finished_;
};

void submit(WorkerExecutor& executor, int64_t step) {
  auto plan = std::make_shared<BatchPlan>();
  plan->step = StepId(step);
  executor.submit(plan);
  executor.sample(plan->step, {});
}

TEST(WorkerExecutor, PreparesWhileIdleUntilNothingIsLeft) {
  Notes notes;
  notes.pieces = 3;
  {
    WorkerExecutor executor(std::make_unique<NotingRunner>(notes), 2, milliseconds(1));
    notes.wait_until([&] { return notes.preparations == 4; });
    for (int64_t step = 0; step < 3; ++step) {
      submit(executor, step);
      EXPECT_EQ(executor.wait().step, StepId(step));
    }
  }
  EXPECT_EQ(notes.calls, (std::vector<std::string>{"prepare", "prepare", "prepare", "prepare",
                                                   "step 0", "step 1", "step 2"}));
}

TEST(WorkerExecutor, AResultForWhichThereIsNoMemoryCostsItsStepAlone) {
  Notes notes;
  notes.too_large = 1;
  WorkerExecutor executor(std::make_unique<NotingRunner>(notes), 2, milliseconds(1));
  for (int64_t step = 0; step < 3; ++step) {
    submit(executor, step);
    const StepResult result = executor.wait();
    EXPECT_EQ(result.step, StepId(step));
    EXPECT_EQ(result.status.code(), step == 1 ? StatusCode::kResourceExhausted : StatusCode::kOk);
  }
}

TEST(WorkerExecutor, AStepWaitsForOnePieceOfPreparation) {
  Notes notes;
  notes.pieces = 2;
  notes.hold_preparing = true;
  {
    WorkerExecutor executor(std::make_unique<NotingRunner>(notes), 2, milliseconds(1));
    notes.wait_until([&] { return notes.preparations == 1; });
    submit(executor, 0);
    notes.release();
    EXPECT_EQ(executor.wait().step, StepId(0));
    notes.wait_until([&] { return notes.preparations == 3; });
  }
  EXPECT_EQ(notes.calls, (std::vector<std::string>{"prepare", "step 0", "prepare", "prepare"}));
}

TEST(WorkerExecutor, PreparesNothingWhileAStepIsInFlight) {
  Notes notes;
  notes.pieces = 1 << 30;
  notes.hold_preparing = true;
  WorkerExecutor executor(std::make_unique<NotingRunner>(notes), 2, milliseconds(0));
  notes.wait_until([&] { return notes.preparations == 1; });
  submit(executor, 0);
  notes.release();
  constexpr int64_t kSteps = 300;
  for (int64_t step = 1; step < kSteps; ++step) {
    // The step before is launched and not yet read, and the worker has nothing to do.
    notes.wait_until([&] { return notes.forwards == step; });
    submit(executor, step);
    EXPECT_EQ(executor.wait().step, StepId(step - 1));
  }
  {
    std::lock_guard lock(notes.mutex);
    EXPECT_EQ(notes.preparations, 1);
  }
  EXPECT_EQ(executor.wait().step, StepId(kSteps - 1));
  notes.wait_until([&] { return notes.preparations > 1; });
}

TEST(WorkerExecutor, EndsAmidPreparations) {
  Notes notes;
  notes.pieces = 1 << 30;
  {
    WorkerExecutor executor(std::make_unique<NotingRunner>(notes), 2, milliseconds(0));
    notes.wait_until([&] { return notes.preparations > 10; });
  }
  EXPECT_EQ(notes.forwards, 0);
}

TEST(WorkerExecutor, GivesUpPreparingWhereThereIsNoMemoryForIt) {
  Notes notes;
  notes.pieces = 1 << 30;
  notes.out_of_memory = true;
  {
    WorkerExecutor executor(std::make_unique<NotingRunner>(notes), 1, milliseconds(0));
    notes.wait_until([&] { return notes.preparations == 1; });
    submit(executor, 0);
    EXPECT_TRUE(executor.wait().status.ok());
    submit(executor, 1);
    EXPECT_TRUE(executor.wait().status.ok());
  }
  EXPECT_EQ(notes.calls, (std::vector<std::string>{"prepare", "step 0", "step 1"}));
}

}  // namespace
}  // namespace octavo
