#include "text/grammar/xgrammar_log.h"

#include <stdexcept>
#include <string_view>
#include <utility>

#include "base/allocation_limit.h"

namespace octavo::text {
namespace {

thread_local std::string first_warning;

// A needless backslash loses nothing.
bool is_harmless(std::string_view message) {
  return message.find("Escape sequence") != std::string_view::npos;
}

}  // namespace

std::string take_xgrammar_warning() {
  return std::exchange(first_warning, {});
}

}  // namespace octavo::text

// The functions that xgrammar, built with XGRAMMAR_LOG_CUSTOMIZE, wants from its user
// (cpp/support/logging.h).
namespace xgrammar {

[[noreturn]] void LogFatalImpl(const std::string&, int, const std::string& message) {
  throw std::runtime_error(message);
}

// Called from a destructor: it must not throw, so what it does not keep it must not allocate.
void LogMessageImpl(const std::string&, int, int level, std::string const& message) {
  constexpr int kWarning = 2;
  using namespace octavo;
  if (level != kWarning || !text::first_warning.empty() || text::is_harmless(message)) return;
  try {
    text::first_warning = message;
  } catch (const std::bad_alloc&) {
    return;  // the limit is exhausted already
  }
  if (AllocationLimit* const limit = AllocationLimit::current()) limit->exhaust();
}

}  // namespace xgrammar
