// StepBudget: how many tokens a step may compute while somebody waits for the next one. A prompt's
// chunk in a step delays every answer that decodes in it, so the chunk is sized from the time that
// recent steps took:
//
//   seconds(step) ≈ decode + per_token * prefill tokens
//
// `decode` is an exponential average over the steps of decode rows alone, `per_token` one over the
// steps with a chunk; no step counts for more than twice what was expected. Wherever the
// line is wrong (a device has flat stretches, and a chunk deep in a context costs more) it is soon
// right at the size in use, since that is where it is measured; and no step is more than twice as
// large as one that was seen to be in time. Plain arithmetic; the engine thread.
#pragma once

namespace octavo {

class StepBudget {
 public:
  // Steps are to last at most `max_step_seconds`; 0: there is no limit. `max_tokens`: of a step,
  // whatever its time. `max_prefill`: most prefill tokens beside decode rows; 0: no such limit.
  StepBudget(double max_step_seconds, int max_tokens, int max_prefill = 0)
      : limit_(max_step_seconds), max_tokens_(max_tokens), max_prefill_(max_prefill) {}

  // A step of that many decode rows and prefill tokens took so long, from the completion of the
  // step before it (or from its own start, after a pause) to its own.
  void observe(int decode_rows, int prefill_tokens, double seconds);

  // Most tokens of the next step, its decode rows included: max_tokens without any; otherwise a
  // multiple of 128 (where the limit allows so many, else of 16), and room for 16 prefill tokens at
  // least.
  int tokens(int decode_rows) const;

 private:
  double affordable_prefill() const;

  const double limit_;
  const int max_tokens_;
  const int max_prefill_;
  // Exponential averages; below 0: nothing seen yet.
  double decode_seconds_ = -1;  // of a step without a chunk
  double per_token_ = -1;       // seconds beyond those, for each prefill token
  double in_time_ = 256;        // prefill tokens of the largest step seen to be in time
};

}  // namespace octavo
