// ChildProcess: this program, started again as `octavo engine-child`, with a socket between. exec,
// not fork alone: the child begins with no thread, no lock and no device context of ours.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "octavo/status.h"

namespace octavo {

// The descriptor that a child finds its end of the socket at.
constexpr int kChildSocket = 3;

// A peer that runs an engine. One thread; disconnect() any.
class ChildProcess {
 public:
  virtual ~ChildProcess() = default;  // as end()
  virtual int socket() const = 0;
  // Wakes whoever reads or writes the socket; the child sees its end. Idempotent.
  virtual void disconnect() = 0;
  // Disconnects, waits for the child to go, kills it if it does not within `grace_seconds`, and
  // says how it went: "was killed by signal 9 (Killed)". Blocks for 10 s more at most. Idempotent.
  virtual std::string end(double grace_seconds) = 0;
  virtual std::string name() const = 0;  // "process 1234"
};

using ChildLauncher = std::function<StatusOr<std::unique_ptr<ChildProcess>>()>;

// Starts `program engine-child`; the child inherits its standard streams and nothing else.
StatusOr<std::unique_ptr<ChildProcess>> launch_child(const std::string& program = "/proc/self/exe");

}  // namespace octavo
