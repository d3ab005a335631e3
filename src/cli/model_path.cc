// Finds a model's folder, and has it downloaded where it is not on this machine.
#include "cli/model_path.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "base/status_macros.h"
#include "cli/download_view.h"
#include "hub/download.h"
#include "hub/names.h"
#include "hub/remote.h"

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

std::string hub_home() {
  if (std::string home = environment("HF_HOME"); !home.empty()) return home;
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty())
    return cache + "/huggingface";
  return environment("HOME") + "/.cache/huggingface";
}

std::string hub_cache_of_environment() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (std::string dir = environment(name); !dir.empty()) return dir;
  }
  return hub_home() + "/hub";
}

std::string first_word_of_file(const fs::path& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

// The name and the revision that are meant by a model as it is written and by --revision.
StatusOr<hub::ModelReference> reference_to(const std::string& model, const std::string& revision) {
  ASSIGN_OR_RETURN(hub::ModelReference reference, hub::parse_model_reference(model));
  if (!revision.empty() && !hub::is_revision(revision))
    return invalid_argument("--revision: '" + revision + "' is none: a branch, tag or commit");
  if (!reference.revision.empty() && !revision.empty() && reference.revision != revision)
    return invalid_argument("model " + model + ": --revision names another one: " + revision);
  if (reference.revision.empty()) reference.revision = revision.empty() ? "main" : revision;
  return reference;
}

bool is_on(const std::string& word) {
  std::string lower = word;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return lower == "1" || lower == "true" || lower == "yes" || lower == "on";
}

// HF_TOKEN, or the file in which `hf auth login` keeps it.
std::string hub_token() {
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (std::string token = environment(name); !token.empty()) return token;
  }
  if (is_on(environment("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) return "";
  std::string file = environment("HF_TOKEN_PATH");
  if (file.empty()) file = hub_home() + "/token";
  return first_word_of_file(file);
}

// A folder or nothing, if `model` is no name of the hub's.
StatusOr<std::string> find_folder(const std::string& model) {
  if (is_folder(model)) return model;
  std::error_code ignored;
  if (fs::exists(model, ignored))
    return invalid_argument(
        "model " + model + " is a file: name the folder with config.json and *.safetensors" +
        (fs::path(model).extension() == ".gguf" ? "; GGUF is not supported" : ""));
  if (!hub::parse_model_reference(model).ok()) {
    return invalid_argument(
        "model " + model + ": no such folder" +
        (model.find('@') == std::string::npos ? "" : ", and no owner/name@revision"));
  }
  return std::string();
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
  ASSIGN_OR_RETURN(std::string folder, find_folder(model));
  if (!folder.empty()) return folder;
  ASSIGN_OR_RETURN(const hub::ModelReference wanted, reference_to(model, revision));
  const auto snapshot =
      hub::HubCache(places.hub_cache).find_snapshot(wanted.model, wanted.revision);
  if (snapshot.ok()) return snapshot->string();
  return not_found("model " + model + ": no such folder, and " + snapshot.status().message() +
                   " (" + places.hub_cache + ")");
}

StatusOr<std::string> pull_model(const std::string& model, const std::string& revision,
                                 const ModelPlaces& places, hub::Wanted wanted) {
  ASSIGN_OR_RETURN(const hub::ModelReference reference, reference_to(model, revision));
  if (is_on(environment("HF_HUB_OFFLINE")) || is_on(environment("TRANSFORMERS_OFFLINE")))
    return unavailable("HF_HUB_OFFLINE forbids to ask for it");
  std::string endpoint = environment("HF_ENDPOINT");
  if (endpoint.empty()) endpoint = "https://huggingface.co";
  ASSIGN_OR_RETURN(const hub::Remote remote, hub::Remote::make(endpoint, hub_token()));
  DownloadView view(reference.model);
  const auto snapshot =
      hub::download(remote, hub::HubCache(places.hub_cache), reference.model, reference.revision,
                    wanted, [&](const hub::DownloadProgress& progress) { view.show(progress); });
  view.finish(snapshot.ok());
  if (!snapshot.ok()) return snapshot.status();
  return snapshot->string();
}

StatusOr<std::string> obtain_model(const std::string& model, const std::string& revision,
                                   const ModelPlaces& places, hub::Wanted wanted) {
  auto found = find_model(model, revision, places);
  if (found.ok() && (is_folder(model) || hub::is_whole(*found, wanted))) return found;
  if (!found.ok() && found.status().code() != StatusCode::kNotFound) return found;
  auto pulled = pull_model(model, revision, places, wanted);
  if (pulled.ok() || !found.ok()) {
    return pulled.ok() ? pulled : pulled.status().with_context(found.status().message());
  }
  return pulled.status().with_context("model " + model + " is not whole in the cache");
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
