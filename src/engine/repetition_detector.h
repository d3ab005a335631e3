// RepetitionDetector: tells when an answer goes round in circles (SamplingParams'
// repetition_detection). The scheduler asks it after each token; one per sequence, engine thread.
//
// A sequence ends in `count` copies of a pattern of p tokens exactly when its last p · (count − 1)
// tokens each equal the one p places before. So it is enough to keep, for every p, how many tokens
// at the end do: a token makes each of these numbers one greater, or zero. That is max_pattern_size
// comparisons a token, however long the answer and whatever stands in it.
#pragma once

#include <span>
#include <vector>

#include "octavo/sampling_params.h"

namespace octavo {

class RepetitionDetector {
 public:
  // `drawn`: the answer's tokens so far. REQUIRES: SamplingParams::validate() took `rule`.
  RepetitionDetector(const RepetitionDetection& rule, std::span<const TokenId> drawn);

  // `output` is the answer with one more token than before. True: it ends in a repetition.
  bool append(std::span<const TokenId> output);

 private:
  bool repeats(int period) const;

  RepetitionDetection rule_;
  // [p − 1]: tokens at the end that equal the one p places before; for every p that the answer is
  // longer than, up to max_pattern_size.
  std::vector<int> matches_;
};

}  // namespace octavo
