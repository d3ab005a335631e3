// Character categories as BERT's normaliser and pre-tokeniser ask for them. Hugging Face's
// tokenizers answer from tables of old Unicode versions, and a model was trained on those answers,
// so these do too. Called by normaliser and pre-tokeniser. Functions without state; any thread.
#pragma once

namespace octavo::text {

// P*, and every ASCII character that is neither letter, digit, space nor control.
bool is_punctuation(char32_t c);
bool is_nonspacing_mark(char32_t c);    // Mn
bool is_mark(char32_t c);               // M*
bool is_control_or_format(char32_t c);  // Cc, Cf, Co

}  // namespace octavo::text
