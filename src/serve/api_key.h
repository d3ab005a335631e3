// API keys: who may call the guarded paths. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace octavo::serve {

// As in vLLM, /v1, /v2, /inference and /cohere ask for a key, and so does /engine; probes, metrics
// and the page do not.
bool path_is_guarded(std::string_view path);

// Whether `authorization` is "Bearer <one of keys>". The time it takes does not depend on where a
// wrong key differs from a right one, nor on which key is right.
bool key_is_valid(std::string_view authorization, const std::vector<std::string>& keys);

}  // namespace octavo::serve
