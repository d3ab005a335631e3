// Where a model's files are: a folder, the Hugging Face cache, or the folder of bundled models; and
// how a model gets into the cache. Main thread; reads the file system.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "hub/cache.h"
#include "octavo/status.h"

namespace octavo::cli {

inline constexpr std::string_view kBundledModel = "octavo-tiny";

struct ModelPlaces {
  std::string hub_cache;             // holds models--owner--name folders
  std::vector<std::string> bundled;  // folders that may hold the bundled model, best first
};

// From the environment (OCTAVO_MODELS; HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HOME) and the place
// of this program. `download_dir`, unless empty, is the hub cache.
ModelPlaces places_of_this_machine(const std::string& download_dir);

// A folder is taken as it is; owner/name, also owner/name@revision, is looked up in the cache:
// models--owner--name/snapshots/<commit>, with the commit from refs/<revision> (main), or
// `revision` itself.
StatusOr<std::string> find_model(const std::string& model, const std::string& revision,
                                 const ModelPlaces& places);
StatusOr<std::string> find_bundled_model(const ModelPlaces& places);

// As find_model(), but what the cache lacks is downloaded, unless HF_HUB_OFFLINE is set: from
// HF_ENDPOINT, with HF_TOKEN or the token that `hf auth login` keeps. What the cache has whole is
// taken without asking the hub. Progress goes to standard error.
StatusOr<std::string> obtain_model(const std::string& model, const std::string& revision,
                                   const ModelPlaces& places, hub::Wanted wanted);
// Downloads what `revision` of owner/name means now, whatever the cache has.
StatusOr<std::string> pull_model(const std::string& model, const std::string& revision,
                                 const ModelPlaces& places, hub::Wanted wanted);

}  // namespace octavo::cli
