// make_engine: an engine and its front half put together, in one process or in two. And what the
// second one runs.
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/status_macros.h"
#include "engine/engine.h"
#include "engine/engine_parts.h"
#include "engine/in_process_client.h"
#include "engine/process/child_engine.h"
#include "engine/process/engine_server.h"
#include "engine/process/masking_core.h"
#include "engine/process/parent_watch.h"
#include "octavo/engine_child.h"

namespace octavo {
namespace {

using Progress = std::function<void(const std::string&)>;

std::unique_ptr<EngineCore> make_core(EngineParts& parts, EngineCore::Listener listener) {
  return std::make_unique<Engine>(parts.scheduler, std::move(parts.cache),
                                  std::move(parts.executor), std::move(listener),
                                  parts.step_timeout_seconds);
}

// The child loads the weights while this process reads the tokenizer.
StatusOr<std::unique_ptr<EngineClient>> make_engine_in_child(const EngineOptions& options,
                                                             const Progress& progress) {
  StatusOr<std::unique_ptr<text::TextModel>> text = internal_error("not read");
  std::thread reader([&] { text = load_text(options); });
  auto child = ChildEngine::start(
      options, [] { return launch_child(); }, progress);
  reader.join();
  if (!child.ok()) return child.status();
  if (!text.ok()) return text.status();
  const ModelInfo model = (*child)->model();
  return std::unique_ptr<EngineClient>(std::make_unique<InProcessClient>(
      model, options, std::move(*text), [&](EngineCore::Listener listener) {
        (*child)->begin(std::move(listener));
        return std::move(*child);
      }));
}

StatusOr<EngineServer::Loaded> load_core(const EngineOptions& options,
                                         EngineCore::Listener listener, const Progress& progress) {
  const ParentWatch watch(kChildSocket, [] { _exit(1); });
  ASSIGN_OR_RETURN(EngineParts parts, make_engine_parts(options, /*with_text=*/false, progress));
  EngineServer::Loaded loaded;
  loaded.model = std::move(parts.model);
  auto on_events = listener.on_events;
  loaded.core = std::make_unique<MaskingCore>(
      make_core(parts, std::move(listener)), loaded.model, [options] { return load_text(options); },
      std::move(on_events));
  return loaded;
}

}  // namespace

StatusOr<std::unique_ptr<EngineClient>> make_engine(const EngineOptions& options,
                                                    Progress progress) {
  if (options.engine_process) return make_engine_in_child(options, progress);
  ASSIGN_OR_RETURN(EngineParts parts, make_engine_parts(options, /*with_text=*/true, progress));
  return std::unique_ptr<EngineClient>(std::make_unique<InProcessClient>(
      parts.model, options, std::move(parts.text),
      [&](EngineCore::Listener listener) { return make_core(parts, std::move(listener)); }));
}

bool is_engine_child() {
  int type = 0;
  socklen_t size = sizeof type;
  return getsockopt(kChildSocket, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

void run_engine_child() {
  // A terminal's Ctrl-C reaches both processes; when to end is the parent's to say.
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP}) signal(signal_number, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  EngineServer server(kChildSocket, load_core);
  const Status status = server.run();
  if (!status.ok()) log_error("engine", "the engine process ends: " + status.message());
  // Not even destructors: the device may never answer again.
  _exit(status.ok() ? 0 : 1);
}

}  // namespace octavo
