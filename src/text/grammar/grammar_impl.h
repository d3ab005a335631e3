// The one header of this folder that shows xgrammar's types.
#pragma once

#include <xgrammar/xgrammar.h>

#include "text/grammar/grammar.h"

namespace octavo::text {

struct CompiledGrammar::Impl {
  xgrammar::CompiledGrammar grammar;
};

}  // namespace octavo::text
