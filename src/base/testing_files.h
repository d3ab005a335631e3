// For tests: where the project's files are and those beside it, and how to read one.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

namespace octavo::testing {

// The tree's root: where OCTAVO_SOURCE_DIR says, for programs that run elsewhere than they were
// built.
inline std::filesystem::path source_dir() {
  const char* given = std::getenv("OCTAVO_SOURCE_DIR");
  return given ? given : OCTAVO_SOURCE_DIR;
}

// Third-party data, which are no part of the project: beside the tree unless OCTAVO_SHARED says
// otherwise. Tests skip by name where they are not there.
inline std::filesystem::path shared_folder() {
  if (const char* set = std::getenv("OCTAVO_SHARED")) return set;
  return source_dir() / ".." / "shared";
}

// Empty if it cannot be read.
inline std::string read_file(const std::filesystem::path& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return std::move(bytes).str();
}

}  // namespace octavo::testing
