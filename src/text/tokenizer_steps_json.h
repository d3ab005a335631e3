// Reads the normalizer, pre_tokenizer and decoder of a tokenizer.json, and members of JSON objects
// as those files need them. Used by tokenizer_json.cc and tokenizer_tiktoken.cc; loading
// thread.
#pragma once

#include <boost/json.hpp>
#include <string_view>

#include "octavo/status.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pretokenizer.h"

namespace octavo::text {

// The member, or null where it is absent or JSON's null.
const boost::json::value* json_member(const boost::json::object& object, std::string_view name);
// The member's string, or "" where it is none.
std::string_view json_string(const boost::json::object& object, std::string_view name);
bool json_bool(const boost::json::object& object, std::string_view name, bool otherwise);

// Null reads as no steps, for a decoder as one that puts spaces between tokens. What we lack is
// refused by name, as unimplemented.
StatusOr<Normalizer> read_normalizer(const boost::json::value* json);
StatusOr<Pretokenizer> read_pretokenizer(const boost::json::value* json);
StatusOr<Decoder> read_decoder(const boost::json::value* json);

}  // namespace octavo::text
