// Tests of SamplingParams::validate: vLLM's ranges, words and normalisation.
#include "octavo/sampling_params.h"

#include <gtest/gtest.h>

#include <cmath>

namespace octavo {
namespace {

std::string error_of(SamplingParams p) {
  return p.validate(100).message();
}

TEST(SamplingParams, DefaultsAreValid) {
  EXPECT_EQ(error_of({}), "");
}

TEST(SamplingParams, RefusesValuesOutOfRangeInVllmsWords) {
  EXPECT_EQ(error_of({.n = 0}), "n must be at least 1, got 0.");
  EXPECT_EQ(error_of({.presence_penalty = 3}), "presence_penalty must be in [-2, 2], got 3.0.");
  EXPECT_EQ(error_of({.repetition_penalty = 0}),
            "repetition_penalty must be greater than zero, got 0.0.");
  EXPECT_EQ(error_of({.temperature = -1}), "temperature must be in [0, 2], got -1.0.");
  EXPECT_EQ(error_of({.temperature = NAN}), "temperature must be in [0, 2], got nan.");
  EXPECT_EQ(error_of({.top_p = 0}), "top_p must be in (0, 1], got 0.0.");
  EXPECT_EQ(error_of({.top_k = -2}), "top_k must be 0 (disable), or at least 1, got -2.");
  EXPECT_EQ(error_of({.min_p = 1.5f}), "min_p must be in [0, 1], got 1.5.");
  EXPECT_EQ(error_of({.max_tokens = 0}), "max_tokens must be at least 1, got 0.");
  EXPECT_EQ(error_of({.max_tokens = 3, .min_tokens = 4}),
            "min_tokens must be less than or equal to max_tokens=3, got 4.");
  EXPECT_EQ(error_of({.logprobs = 21}),
            "Requested sample logprobs of 21, which is greater than max allowed: 20");
  EXPECT_EQ(error_of({.stop = {""}}), "stop cannot contain an empty string.");
  EXPECT_EQ(error_of({.logit_bias = {{100, 1.f}}}),
            "token_id(s) [100] in logit_bias contain out-of-vocab token ids. Vocabulary size: 100");
  EXPECT_EQ(
      error_of({.stop_token_ids = {99, -1}}),
      "token_id(s) [-1] in stop_token_ids contain out-of-vocab token ids. Vocabulary size: 100");
  EXPECT_EQ(error_of({.allowed_token_ids = std::vector<TokenId>{}}),
            "allowed_token_ids is not None and empty!");
  EXPECT_EQ(error_of({.n = 2, .temperature = 0}), "n must be 1 when using greedy sampling, got 2.");
}

TEST(SamplingParams, RepetitionDetectionIsOffOrWhole) {
  const auto error = [](int most, int least, int count) {
    return error_of({.repetition_detection = RepetitionDetection{most, least, count}});
  };
  EXPECT_EQ(error(0, 0, 0), "");
  EXPECT_EQ(error(2048, 0, 2), "");
  const std::string sizes =
      "max_pattern_size, min_pattern_size must be >=0, with min_pattern_size <= max_pattern_size. "
      "Set both to 0 to disable repetitive pattern detection.";
  EXPECT_EQ(error(-1, 0, 2), sizes);
  EXPECT_EQ(error(3, -1, 2), sizes);
  EXPECT_EQ(error(3, 4, 2), sizes);
  EXPECT_EQ(error(3, 1, 1),
            "min_count must be >= 2 to detect repetitive patterns in engine output. If you do not "
            "wish to detect repetitive patterns, set max_pattern_size to 0.");
  EXPECT_EQ(error(2049, 1, 2), "max_pattern_size must be at most 2048, got 2049.");
}

TEST(SamplingParams, WhatAnAnswerCarriesAlongIsBounded) {
  EXPECT_EQ(error_of({.stop = {std::string(10000, 'a'), std::string(10000, 'b')}}),
            "The stop strings have 20000 bytes together, more than 16384.");
  EXPECT_EQ(error_of({.stop_token_ids = std::vector<TokenId>(1025, 1)}),
            "stop_token_ids has 1025 entries, more than 1024.");
  EXPECT_EQ(error_of({.logit_bias = std::vector<std::pair<TokenId, float>>(101, {5, 1.f})}),
            "logit_bias has 101 entries, more than 100.");
  EXPECT_EQ(error_of({.allowed_token_ids = std::vector<TokenId>(101, 5)}),
            "allowed_token_ids has 101 entries, more than 100.");
}

TEST(SamplingParams, GreedyDropsTheTruncations) {
  SamplingParams p{.temperature = 1e-6f, .top_p = 0.5f, .top_k = 3, .min_p = 0.1f};
  ASSERT_TRUE(p.validate(100).ok());
  EXPECT_EQ(p.top_p, 1.f);
  EXPECT_EQ(p.top_k, 0);
  EXPECT_EQ(p.min_p, 0.f);
}

TEST(SamplingParams, RaisesTinyTemperaturesAndClampsBias) {
  SamplingParams p{.temperature = 0.001f, .top_k = -1, .seed = -1, .logit_bias = {{5, 1000.f}}};
  ASSERT_TRUE(p.validate(100).ok());
  EXPECT_FLOAT_EQ(p.temperature, 0.01f);
  EXPECT_EQ(p.top_k, 0);
  EXPECT_FALSE(p.seed.has_value());
  EXPECT_EQ(p.logit_bias[0].second, 100.f);
}

}  // namespace
}  // namespace octavo
