// Finds a model's folder. The cache's layout is huggingface_hub's.
#include "cli/model_path.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace octavo::cli {
namespace fs = std::filesystem;
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

std::string hub_cache_of_environment() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const std::string dir = environment(name); !dir.empty()) return dir;
  }
  if (const std::string home = environment("HF_HOME"); !home.empty()) return home + "/hub";
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty())
    return cache + "/huggingface/hub";
  return environment("HOME") + "/.cache/huggingface/hub";
}

// One slash between two names of letters, digits, '.', '_' and '-'.
bool looks_like_hub_name(std::string_view model) {
  const size_t slash = model.find('/');
  if (slash == 0 || slash == std::string_view::npos || slash + 1 == model.size()) return false;
  if (model[0] == '.' || model.find('/', slash + 1) != std::string_view::npos) return false;
  return std::all_of(model.begin(), model.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '/' || c == '.' || c == '_' || c == '-';
  });
}

std::string first_word_of_file(const fs::path& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

}  // namespace

ModelPlaces places_of_this_machine(const std::string& download_dir) {
  ModelPlaces places;
  places.hub_cache = download_dir.empty() ? hub_cache_of_environment() : download_dir;
  if (const std::string dir = environment("OCTAVO_MODELS"); !dir.empty())
    places.bundled.push_back(dir);
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  // build/octavo, an unpacked archive, an installed prefix, build/<preset>/octavo, the current
  // folder.
  for (const char* dir : {"../models", "models", "../share/octavo/models", "../../models"}) {
    places.bundled.push_back((program / dir).lexically_normal().string());
  }
  places.bundled.emplace_back("models");
  return places;
}

StatusOr<std::string> find_model(const std::string& model, const std::string& revision,
                                 const ModelPlaces& places) {
  if (is_folder(model)) return model;
  std::error_code ignored;
  if (fs::exists(model, ignored))
    return invalid_argument("model " + model + " is a file, not a folder");
  if (!looks_like_hub_name(model)) return not_found("model " + model + ": no such folder");

  std::string folder = "models--" + model;
  folder.replace(folder.find('/'), 1, "--");
  const fs::path repository = fs::path(places.hub_cache) / folder;
  const std::string wanted = revision.empty() ? "main" : revision;
  if (!is_folder(repository)) {
    return not_found(
        "model " + model + ": no such folder, and it is not in the Hugging Face cache (" +
        places.hub_cache + "); octavo downloads nothing yet: `hf download " + model + "` does");
  }
  std::string commit = first_word_of_file(repository / "refs" / wanted);
  if (commit.empty()) commit = wanted;
  const fs::path snapshot = repository / "snapshots" / commit;
  if (!is_folder(snapshot)) {
    return not_found("model " + model + ": the Hugging Face cache has no revision '" + wanted +
                     "' of it");
  }
  return snapshot.string();
}

StatusOr<std::string> find_bundled_model(const ModelPlaces& places) {
  std::string looked;
  for (const std::string& dir : places.bundled) {
    const fs::path path = fs::path(dir) / kBundledModel;
    if (is_folder(path)) return path.string();
    looked += (looked.empty() ? "" : ", ") + dir;
  }
  return not_found("the bundled model " + std::string(kBundledModel) + " is in none of: " + looked +
                   "; name a model, or set OCTAVO_MODELS");
}

}  // namespace octavo::cli
