// Requests for the tests of the scheduler, and what a rig has told of them.
#pragma once

#include <vector>

#include "engine/testing_scheduler_rig.h"

namespace octavo {

// `small_options()` with one step at a time.
RigOptions synchronous();

// A prompt of `prompt` tokens that count up from `first`, modulo the vocabulary of 50.
Request request_of(int prompt, int max_tokens, SamplingParams params = {}, int first = 0);

// Tokens of each row of a plan.
std::vector<int> rows_of(const BatchPlan& plan);

// All tokens of one answer so far.
std::vector<TokenId> tokens_of(const SchedulerRig& rig, RequestKey key, int index = 0);

// Empty if there was none.
SequenceEvent last_event(const SchedulerRig& rig, RequestKey key, int index = 0);

// What the request says when nothing else is in the world.
std::vector<TokenId> alone(const Request& request, int index = 0);

}  // namespace octavo
