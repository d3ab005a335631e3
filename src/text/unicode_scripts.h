// Scripts as tokenizer.json's UnicodeScripts tells them apart: Hiragana and Katakana are Han, and a
// space, as a character without a script, goes with any. Called by the pre-tokeniser. A function
// without state; any thread.
#pragma once

namespace octavo::text {

inline constexpr int kAnyScript = 0;
// A number that is the same for characters of the same script.
int script_class(char32_t c);

}  // namespace octavo::text
