#include "base/testing_files.h"

#include <gtest/gtest.h>

#include <optional>

namespace octavo::testing {
namespace {

// Sets a variable of the environment, or takes it away, until the end of the block.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    set(value);
  }
  ~ScopedVariable() { set(before_ ? before_->c_str() : nullptr); }
  ScopedVariable(const ScopedVariable&) = delete;

 private:
  void set(const char* value) {
    if (value == nullptr) {
      unsetenv(name_);
    } else {
      setenv(name_, value, 1);
    }
  }
  const char* const name_;
  std::optional<std::string> before_;
};

TEST(TestingFiles, SharedDataStandBesideTheTreeWhereverThatIs) {
  const ScopedVariable shared("OCTAVO_SHARED", nullptr);
  const ScopedVariable tree("OCTAVO_SOURCE_DIR", "/elsewhere/main");
  EXPECT_EQ(source_dir(), "/elsewhere/main");
  EXPECT_EQ(shared_folder().lexically_normal(), "/elsewhere/shared");
}

TEST(TestingFiles, SharedDataStandWhereTheEnvironmentSays) {
  const ScopedVariable shared("OCTAVO_SHARED", "/data");
  const ScopedVariable tree("OCTAVO_SOURCE_DIR", "/elsewhere/main");
  EXPECT_EQ(shared_folder(), "/data");
}

}  // namespace
}  // namespace octavo::testing
