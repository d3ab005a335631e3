// Early return for functions that yield Status or StatusOr.
#pragma once

#include "octavo/status.h"

#define OCTAVO_CONCAT_INNER(a, b) a##b
#define OCTAVO_CONCAT(a, b) OCTAVO_CONCAT_INNER(a, b)

// Returns from the calling function when `expr` is a failed Status.
#define RETURN_IF_ERROR(expr)                                                               \
  do {                                                                                      \
    if (::octavo::Status octavo_status = (expr); !octavo_status.ok()) return octavo_status; \
  } while (0)

// A declaration and a new name cannot stand in parentheses.
// NOLINTBEGIN(bugprone-macro-parentheses)

// ASSIGN_OR_RETURN(auto x, f()): declares x from a StatusOr, or returns its failure.
#define ASSIGN_OR_RETURN(declaration, expr) \
  ASSIGN_OR_RETURN_INNER(OCTAVO_CONCAT(octavo_or_, __LINE__), declaration, expr)
#define ASSIGN_OR_RETURN_INNER(tmp, declaration, expr) \
  auto tmp = (expr);                                   \
  if (!tmp.ok()) return tmp.status();                  \
  declaration = std::move(tmp).value()
// NOLINTEND(bugprone-macro-parentheses)
