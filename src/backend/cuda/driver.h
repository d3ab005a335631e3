// What the kernels' host sides ask of the driver and the device. Any thread.
#pragma once

namespace octavo::cuda {

// A function of the driver by its name, found through the runtime so that the program links no
// driver library. Null where there is none.
void* find_driver_function(const char* name);

template <typename F>
F driver_function(const char* name) {
  return reinterpret_cast<F>(find_driver_function(name));
}

// Of the current device, read once: a process has one. At least 1.
int multiprocessors();

}  // namespace octavo::cuda
