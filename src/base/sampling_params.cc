// The ranges of sampling parameters, in vLLM's words.
#include "octavo/sampling_params.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/status_macros.h"

namespace octavo {
namespace {

constexpr int kMaxSequences = 16384;
// What a single answer may carry from step to step; whoever asks for more means harm.
constexpr size_t kMaxStopBytes = 16 << 10;  // of all stop strings; a state each in the automaton
constexpr size_t kMaxStopTokenIds = 1024;   // compared with each token
constexpr int kMaxPatternSize = 2048;       // lengths that are compared with each token
constexpr float kGreedyBelow = 1e-5f;
constexpr float kLowestTemperature = 1e-2f;

// 0.5 as "0.5", 3 as "3.0": numbers as Python prints them, for messages that users compare.
std::string python_float(float v) {
  char text[32];
  snprintf(text, sizeof text, "%g", static_cast<double>(v));
  std::string s = text;
  if (s.find_first_of(".einf") == std::string::npos) s += ".0";
  return s;
}

Status out_of_range(const char* name, const std::string& rule, const std::string& got) {
  return invalid_argument(std::string(name) + " must be " + rule + ", got " + got + ".")
      .with_param(name);
}

Status check_numbers(const SamplingParams& p) {
  const auto in = [](float v, float low, float high) {
    return v >= low && v <= high;
  };  // false for NaN
  if (p.n < 1 || p.n > kMaxSequences) {
    return out_of_range("n", p.n < 1 ? "at least 1" : "at most " + std::to_string(kMaxSequences),
                        std::to_string(p.n));
  }
  if (!in(p.presence_penalty, -2, 2))
    return out_of_range("presence_penalty", "in [-2, 2]", python_float(p.presence_penalty));
  if (!in(p.frequency_penalty, -2, 2))
    return out_of_range("frequency_penalty", "in [-2, 2]", python_float(p.frequency_penalty));
  if (!(p.repetition_penalty > 0) || std::isinf(p.repetition_penalty)) {
    return out_of_range("repetition_penalty", "greater than zero",
                        python_float(p.repetition_penalty));
  }
  if (!in(p.temperature, 0, 2))
    return out_of_range("temperature", "in [0, 2]", python_float(p.temperature));
  if (!(p.top_p > 0 && p.top_p <= 1))
    return out_of_range("top_p", "in (0, 1]", python_float(p.top_p));
  if (p.top_k < -1)
    return out_of_range("top_k", "0 (disable), or at least 1", std::to_string(p.top_k));
  if (!in(p.min_p, 0, 1)) return out_of_range("min_p", "in [0, 1]", python_float(p.min_p));
  if (p.max_tokens && *p.max_tokens < 1)
    return out_of_range("max_tokens", "at least 1", std::to_string(*p.max_tokens));
  if (p.min_tokens < 0)
    return out_of_range("min_tokens", "greater than or equal to 0", std::to_string(p.min_tokens));
  if (p.max_tokens && p.min_tokens > *p.max_tokens) {
    return out_of_range("min_tokens",
                        "less than or equal to max_tokens=" + std::to_string(*p.max_tokens),
                        std::to_string(p.min_tokens));
  }
  return ok_status();
}

Status check_repetition_detection(const std::optional<RepetitionDetection>& detection) {
  if (!detection) return ok_status();
  const auto [most, least, count] = *detection;
  const auto refused = [](std::string message) {
    return invalid_argument(std::move(message)).with_param("repetition_detection");
  };
  if (most < 0 || least < 0 || least > most) {
    return refused(
        "max_pattern_size, min_pattern_size must be >=0, with min_pattern_size <= "
        "max_pattern_size. Set both to 0 to disable repetitive pattern detection.");
  }
  if (most > 0 && count < 2) {
    return refused(
        "min_count must be >= 2 to detect repetitive patterns in engine output. If you do not wish "
        "to detect repetitive patterns, set max_pattern_size to 0.");
  }
  if (most > kMaxPatternSize) {
    return refused("max_pattern_size must be at most " + std::to_string(kMaxPatternSize) +
                   ", got " + std::to_string(most) + ".");
  }
  return ok_status();
}

Status check_logprobs(const char* name, const std::optional<int>& k, const char* what,
                      int max_logprobs) {
  if (!k) return ok_status();
  if (*k < -1) return out_of_range(name, "non-negative or -1", std::to_string(*k));
  // -1 asks for the whole vocabulary; a --max-logprobs of -1 allows everything.
  if (max_logprobs >= 0 && (*k == -1 || *k > max_logprobs)) {
    return invalid_argument("Requested " + std::string(what) + " logprobs of " +
                            (*k == -1 ? "the whole vocabulary" : std::to_string(*k)) +
                            ", which is greater than max allowed: " + std::to_string(max_logprobs))
        .with_param(name);
  }
  return ok_status();
}

Status check_sizes(const SamplingParams& p, int vocab_size) {
  size_t stop_bytes = 0;
  for (const std::string& s : p.stop) stop_bytes += s.size();
  if (stop_bytes > kMaxStopBytes) {
    return invalid_argument("The stop strings have " + std::to_string(stop_bytes) +
                            " bytes together, more than " + std::to_string(kMaxStopBytes) + ".")
        .with_param("stop");
  }
  const auto check = [](const char* name, size_t count, size_t most) {
    if (count <= most) return ok_status();
    return invalid_argument(std::string(name) + " has " + std::to_string(count) +
                            " entries, more than " + std::to_string(most) + ".")
        .with_param(name);
  };
  RETURN_IF_ERROR(check("stop_token_ids", p.stop_token_ids.size(), kMaxStopTokenIds));
  if (vocab_size <= 0) return ok_status();
  RETURN_IF_ERROR(check("logit_bias", p.logit_bias.size(), vocab_size));
  return check("allowed_token_ids", p.allowed_token_ids ? p.allowed_token_ids->size() : 0,
               vocab_size);
}

Status check_vocabulary(const SamplingParams& p, int vocab_size) {
  const auto outside = [&](TokenId id) { return id < 0 || (vocab_size > 0 && id >= vocab_size); };
  const auto refused = [&](TokenId id, const std::string& field) {
    return invalid_argument(
               "token_id(s) [" + std::to_string(id) + "] in " + field +
               " contain out-of-vocab token ids. Vocabulary size: " + std::to_string(vocab_size))
        .with_param(field);
  };
  for (const TokenId id : p.stop_token_ids) {
    if (outside(id)) return refused(id, "stop_token_ids");
  }
  for (const auto& [id, bias] : p.logit_bias) {
    if (outside(id)) return refused(id, "logit_bias");
    if (std::isnan(bias))
      return invalid_argument("logit_bias values must be numbers.").with_param("logit_bias");
  }
  if (p.allowed_token_ids) {
    if (p.allowed_token_ids->empty()) {
      return invalid_argument("allowed_token_ids is not None and empty!")
          .with_param("allowed_token_ids");
    }
    if (std::any_of(p.allowed_token_ids->begin(), p.allowed_token_ids->end(), outside)) {
      return invalid_argument("allowed_token_ids contains out-of-vocab token id!")
          .with_param("allowed_token_ids");
    }
  }
  return ok_status();
}

}  // namespace

Status SamplingParams::validate(int vocab_size, int max_logprobs) {
  RETURN_IF_ERROR(check_numbers(*this));
  RETURN_IF_ERROR(check_logprobs("logprobs", logprobs, "sample", max_logprobs));
  RETURN_IF_ERROR(check_logprobs("prompt_logprobs", prompt_logprobs, "prompt", max_logprobs));
  RETURN_IF_ERROR(check_repetition_detection(repetition_detection));
  RETURN_IF_ERROR(check_sizes(*this, vocab_size));
  RETURN_IF_ERROR(check_vocabulary(*this, vocab_size));
  for (const std::string& s : stop) {
    if (s.empty())
      return invalid_argument("stop cannot contain an empty string.").with_param("stop");
  }
  if (!stop.empty() && !detokenize) {
    return invalid_argument(
               "stop strings are only supported when detokenize is True. Set `detokenize=True` to "
               "use stop.")
        .with_param("stop");
  }
  for (const std::string& s : bad_words) {
    if (s.empty())
      return invalid_argument("bad_words cannot contain an empty string.").with_param("bad_words");
  }
  if (seed && *seed == -1) seed.reset();
  if (top_k == -1) top_k = 0;
  for (auto& entry : logit_bias) entry.second = std::clamp(entry.second, -100.f, 100.f);
  if (temperature < kGreedyBelow) {
    if (n > 1)
      return invalid_argument("n must be 1 when using greedy sampling, got " + std::to_string(n) +
                              ".")
          .with_param("n");
    top_p = 1;
    top_k = 0;
    min_p = 0;
  } else if (temperature < kLowestTemperature) {
    temperature = kLowestTemperature;
  }
  return ok_status();
}

}  // namespace octavo
