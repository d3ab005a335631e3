// Executor: runs plans on the workers. The engine does not know how many ranks there are. Engine
// thread.
//
// A step has two halves: submit() launches the forward pass, and the sampling of every row that
// needs nothing from the host; sample() gives the masks of the others, and follows the commit of
// the step before. Steps complete in the order submitted; device work is in that order too.
#pragma once

#include <memory>

#include "engine/batch_plan.h"

namespace octavo {

class Executor {
 public:
  virtual ~Executor() = default;
  virtual void submit(std::shared_ptr<const BatchPlan> plan) = 0;
  // REQUIRED once per submitted step, in order, also when no row needs a mask.
  virtual void sample(StepId step, StepMasks masks) = 0;
  // Blocks until the oldest unread step is complete. REQUIRES: sample() was called for it.
  virtual StepResult wait() = 0;
  // How many steps may be submitted and unread: 2 on one device.
  virtual int max_in_flight() const = 0;
};

}  // namespace octavo
