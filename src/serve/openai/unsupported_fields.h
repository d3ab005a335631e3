// Fields of a request that are known, not supported, and would change the answer: refused by name,
// with what to do instead. Pure functions, run on the I/O pool.
#pragma once

#include "serve/json_fields.h"

namespace octavo::serve {

// Fails `fields` for the first such field. A null, false, an empty text, list or object, and the
// word that asks for the usual pass, where they ask for nothing.
void refuse_unsupported(JsonFields& fields);

}  // namespace octavo::serve
