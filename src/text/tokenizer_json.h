// A tokenizer from the root of a tokenizer.json, also from one that was put together out of other
// files. Called by parse_tokenizer_json and tokenizer_vocabulary.cc; loading thread.
#pragma once

#include <boost/json.hpp>
#include <memory>

#include "octavo/status.h"
#include "text/tokenizer.h"

namespace octavo::text {

StatusOr<std::unique_ptr<Tokenizer>> build_tokenizer(const boost::json::object& root);

}  // namespace octavo::text
