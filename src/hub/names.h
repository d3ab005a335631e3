// Names of models, revisions and files, checked before they become part of a path or a URL. Pure
// functions.
#pragma once

#include <string>
#include <string_view>

#include "octavo/status.h"

namespace octavo::hub {

// Two names of letters, digits, '.', '_' and '-' with a slash between them. No name begins or ends
// with '.' or '-' or holds ".." or "--", which the cache's folders could not tell from the slash.
bool is_model_name(std::string_view text);
// A branch, tag or commit: such characters and slashes, no ".." and no empty part.
bool is_revision(std::string_view text);
// A file of the repository's top folder that is not hidden.
bool is_file_name(std::string_view text);

struct ModelReference {
  std::string model;     // "owner/name"
  std::string revision;  // empty: none was written
};
// "owner/name" or "owner/name@revision".
StatusOr<ModelReference> parse_model_reference(std::string_view text);

}  // namespace octavo::hub
