#include "text/grammar/grammar.h"

#include <dlpack/dlpack.h>

#include <algorithm>
#include <exception>

#include "base/allocation_limit.h"
#include "base/clock.h"
#include "text/grammar/grammar_impl.h"
#include "text/grammar/xgrammar_log.h"

namespace octavo::text {
namespace {

// A usual mask takes some microseconds and next to no memory. The time is one answer's in all, with
// more for every token: it is the engine thread's, which every other answer waits for.
constexpr int64_t kBytesPerCall = int64_t{64} << 20;
constexpr double kSeconds = 2;
constexpr double kSecondsPerToken = 0.002;

}  // namespace

CompiledGrammar::CompiledGrammar(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
CompiledGrammar::~CompiledGrammar() = default;

int64_t CompiledGrammar::bytes() const {
  return static_cast<int64_t>(impl_->grammar.MemorySizeBytes());
}

struct GrammarMatcher::Impl {
  xgrammar::GrammarMatcher matcher;
};

GrammarMatcher::GrammarMatcher(std::shared_ptr<const CompiledGrammar> grammar)
    : grammar_(std::move(grammar)), seconds_left_(kSeconds) {
  bounded([this] {
    impl_.reset(new Impl{xgrammar::GrammarMatcher(grammar_->impl().grammar)});
    return true;
  });
}
GrammarMatcher::~GrammarMatcher() = default;

// Runs work() within what is left, and returns what it does; false if it comes to no end.
template <typename F>
bool GrammarMatcher::bounded(F&& work) {
  if (failed_) return false;
  const double begin = steady_seconds();
  bool result = false;
  try {
    AllocationLimit limit(kBytesPerCall, seconds_left_);
    result = work();
  } catch (const std::exception&) {
    failed_ = true;
  }
  take_xgrammar_warning();
  seconds_left_ -= steady_seconds() - begin;
  if (seconds_left_ <= 0) failed_ = true;
  return result && !failed_;
}

bool GrammarMatcher::accept(TokenId token) {
  seconds_left_ += kSecondsPerToken;
  return bounded([&] { return impl_->matcher.AcceptToken(token); });
}

bool GrammarMatcher::accept_text(std::string_view text) {
  return bounded([&] { return impl_->matcher.AcceptString(std::string(text)); });
}

void GrammarMatcher::fill(std::span<uint32_t> mask) {
  const bool filled = !ended() && bounded([&] {
    int64_t shape[1] = {static_cast<int64_t>(mask.size())};
    DLTensor tensor{mask.data(), {kDLCPU, 0}, 1, {kDLInt, 32, 1}, shape, nullptr, 0};
    impl_->matcher.FillNextTokenBitmask(&tensor);
    return true;
  });
  if (!filled) std::fill(mask.begin(), mask.end(), 0);
}

bool GrammarMatcher::may_end() const {
  return !failed_ && impl_->matcher.IsCompleted();
}

bool GrammarMatcher::ended() const {
  return !failed_ && impl_->matcher.IsTerminated();
}

}  // namespace octavo::text
