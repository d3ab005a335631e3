// The child process of EngineOptions::engine_process. A program that sets that option must be able
// to run as the child: when its words are `engine-child`, it calls run_engine_child().
#pragma once

namespace octavo {

// Whether this process was started as an engine's child: it holds the socket to its parent.
bool is_engine_child();

// Serves the parent until it is gone, then ends the process. Main thread, before any other.
[[noreturn]] void run_engine_child();

}  // namespace octavo
