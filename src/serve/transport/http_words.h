// The small change of HTTP's headers: words without case, blanks, lists. Any thread.
#pragma once

#include <string_view>

namespace octavo::serve {

// Whether two words are the same but for the case of ASCII letters.
bool equals_ignoring_case(std::string_view a, std::string_view b);

// `text` without the spaces and tabs around it.
std::string_view trim_blanks(std::string_view text);

// Whether a list such as "keep-alive, Upgrade" has `word`, in any case.
bool list_has_word(std::string_view list, std::string_view word);

}  // namespace octavo::serve
