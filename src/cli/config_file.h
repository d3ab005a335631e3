// `--config file.yaml`: the file's entries as the words of a command line. Main thread.
#pragma once

#include <string>

#include "cli/flags.h"
#include "octavo/status.h"

namespace octavo::cli {

// `max-num-seqs: 4` becomes {"--max-num-seqs=4"}; a list becomes one word a value; true becomes the
// bare flag and false its --no- form; a mapping becomes JSON text. `model: X` becomes the word X.
// Errors carry the line and column.
StatusOr<Words> read_config_file(const std::string& path);

}  // namespace octavo::cli
