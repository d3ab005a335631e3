// octavo pull: a model from the hub into the cache. octavo list: what the cache has.
#include <cstdio>
#include <ctime>
#include <string>

#include "cli/commands/commands.h"
#include "cli/download_view.h"
#include "cli/model_path.h"
#include "hub/cache.h"

namespace octavo::cli {
namespace {

std::string day_of(int64_t unix_time) {
  const std::time_t seconds = unix_time;
  std::tm local{};
  char text[32];
  if (localtime_r(&seconds, &local) == nullptr ||
      std::strftime(text, sizeof text, "%Y-%m-%d", &local) == 0)
    return "?";
  return text;
}

void declare_cache(FlagSet& flags, std::string* folder) {
  flags.text("download-dir", folder, "DIR", "the Hugging Face cache; otherwise as HF_HOME says");
}

}  // namespace

int pull_command(const Words& args) {
  std::string model, revision, folder;
  FlagSet flags(
      "octavo pull OWNER/NAME[@REVISION] [flags]",
      "Downloads a model into the Hugging Face cache, or brings it up to date, and writes "
      "the\nfolder that holds it. HF_ENDPOINT, HF_TOKEN and HF_HOME count as elsewhere.");
  flags.positional(&model);
  flags.text("revision", &revision, "REV", "branch, tag or commit; otherwise main");
  declare_cache(flags, &folder);
  if (const auto code = parse_or_exit(flags, args, "pull")) return *code;
  if (model.empty())
    return report(invalid_argument("name a model: octavo pull owner/name"), kUsage);
  const auto path =
      pull_model(model, revision, places_of_this_machine(folder), hub::Wanted::kEverything);
  if (!path.ok()) return report(path.status());
  std::puts(path->c_str());
  return 0;
}

int list_command(const Words& args) {
  std::string folder;
  FlagSet flags("octavo list [flags]", "Lists the models in the Hugging Face cache.");
  declare_cache(flags, &folder);
  if (const auto code = parse_or_exit(flags, args, "list")) return *code;
  const ModelPlaces places = places_of_this_machine(folder);
  const auto models = hub::HubCache(places.hub_cache).list();
  if (models.empty()) {
    std::printf("no models in %s; octavo pull owner/name fetches one\n", places.hub_cache.c_str());
    return 0;
  }
  std::printf("%-48s %8s  %-10s\n", "NAME", "SIZE", "LAST USED");
  for (const hub::CachedModel& model : models) {
    std::printf("%-48s %8s  %-10s%s\n", model.name.c_str(),
                byte_count(static_cast<double>(model.bytes)).c_str(),
                day_of(model.last_used).c_str(), model.whole ? "" : "  not whole");
  }
  return 0;
}

}  // namespace octavo::cli
