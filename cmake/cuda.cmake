# OCTAVO_CUDA decides whether the CUDA backend is built: on, off, or auto (where both a driver and nvcc
# are found). Without nvcc, auto says what is missing and the build goes on for the CPU alone.
set(OCTAVO_CUDA auto CACHE STRING "Build the CUDA backend: on, off, auto")
set_property(CACHE OCTAVO_CUDA PROPERTY STRINGS on off auto)

set(cuda_wanted ${OCTAVO_CUDA})
find_program(OCTAVO_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
if(OCTAVO_CUDA STREQUAL "auto")
  set(cuda_wanted off)
  if(EXISTS /proc/driver/nvidia/version OR EXISTS /dev/nvidiactl)
    if(OCTAVO_NVCC)
      set(cuda_wanted on)
    else()
      message(STATUS "An NVIDIA driver is here but no nvcc: building for the CPU alone. For the GPU install "
                     "cuda-toolkit-13-0 (NVIDIA's package repository), or set CUDA_HOME, and configure again.")
    endif()
  endif()
elseif(OCTAVO_CUDA STREQUAL "on" AND NOT OCTAVO_NVCC)
  message(FATAL_ERROR "OCTAVO_CUDA=on but there is no nvcc: install cuda-toolkit-13-0 (NVIDIA's package "
                      "repository), or set CUDA_HOME")
endif()

if(cuda_wanted STREQUAL "on")
  set(CMAKE_CUDA_COMPILER ${OCTAVO_NVCC})
  set(CMAKE_CUDA_ARCHITECTURES 90a-real)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  if(CCACHE)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
  endif()
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25.1 does not know that nvcc takes C++20
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  endif()
  set(CMAKE_CUDA_STANDARD 20)
  find_package(CUDAToolkit 13.0 REQUIRED)
  # A file takes nvcc up to 4 GB: as many at once as the memory holds, whatever the number of cores.
  cmake_host_system_information(RESULT memory_mib QUERY TOTAL_PHYSICAL_MEMORY)
  math(EXPR cuda_jobs "(${memory_mib} + 5999) / 6000")
  set_property(GLOBAL APPEND PROPERTY JOB_POOLS cuda_compile=${cuda_jobs})
  string(APPEND CMAKE_CUDA_FLAGS " --expt-relaxed-constexpr -diag-suppress=2810 -Xcompiler=-fno-math-errno")
endif()
