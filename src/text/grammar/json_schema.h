// A user's JSON schema made ready for xgrammar, which enforces part of JSON Schema and passes over
// the rest in silence. prepare_json_schema() rewrites what has an equal in that part, and refuses
// what has not, so that every answer is valid. What an answer may be is at times narrower than the
// schema: objects have only the properties they declare (unless `additionalProperties` says more),
// patterns match whole strings, formats are spelled one way. Pure; the work is bounded.
//
//   type             enum and const; lists of types; none: of what the other keywords speak
//   string           minLength, maxLength, pattern, format (json_formats.h); one of the first two
//                    with a pattern or format is refused
//   number, integer  minimum, maximum, exclusive…; multipleOf of integers within bounds
//   array            items, prefixItems, minItems, maxItems
//   object           properties, required, additionalProperties, patternProperties (one, alone),
//                    propertyNames, minProperties, maxProperties
//   combined         $ref within the schema; anyOf; allOf where it can be merged; oneOf whose
//                    options cannot hold at once
//   refused          not, if, dependent…, uniqueItems, contains, …: by name
//
// Every other keyword is an annotation, as JSON Schema says, and constrains nothing.
#pragma once

#include "octavo/status.h"
#include "octavo/value.h"

namespace octavo::text {

// Errors: kInvalidArgument that names the keyword and where it stands ("#/properties/a").
Status prepare_json_schema(Value& schema);

}  // namespace octavo::text
