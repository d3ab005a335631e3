# octavo_xgrammar: the grammar engine behind structured output, as a static library of the sources that scripts/setup
# has unpacked. Its own build is left aside: it wants Python bindings, link-time optimisation and -Werror.
set(xgrammar_version 0.2.8)
if(DEFINED ENV{XDG_CACHE_HOME})
  set(OCTAVO_DOWNLOADS "$ENV{XDG_CACHE_HOME}/octavo" CACHE PATH "Where scripts/setup unpacks sources")
else()
  set(OCTAVO_DOWNLOADS "$ENV{HOME}/.cache/octavo" CACHE PATH "Where scripts/setup unpacks sources")
endif()
set(xgrammar_dir "${OCTAVO_DOWNLOADS}/xgrammar-${xgrammar_version}")
if(NOT EXISTS "${xgrammar_dir}/include/xgrammar/xgrammar.h")
  message(FATAL_ERROR "xgrammar ${xgrammar_version} is not in ${xgrammar_dir}: run scripts/setup")
endif()

file(GLOB xgrammar_sources "${xgrammar_dir}/cpp/*.cc" "${xgrammar_dir}/cpp/converter_ext/*.cc"
     "${xgrammar_dir}/cpp/support/*.cc")
add_library(octavo_xgrammar STATIC EXCLUDE_FROM_ALL ${xgrammar_sources})
target_include_directories(octavo_xgrammar SYSTEM PUBLIC "${xgrammar_dir}/include" "${xgrammar_dir}/3rdparty/dlpack/include"
                           PRIVATE "${xgrammar_dir}/3rdparty/picojson")
# Its warnings and failures come to src/text/grammar/xgrammar_log.cc, which turns both into errors.
target_compile_definitions(octavo_xgrammar PRIVATE XGRAMMAR_LOG_CUSTOMIZE=1 XGRAMMAR_ENABLE_CPPTRACE=0
                           XGRAMMAR_ENABLE_INTERNAL_CHECK=0)
target_compile_options(octavo_xgrammar PRIVATE -w)
if(OCTAVO_SANITIZE)
  # Memory errors in it would be ours to bear; its arithmetic is not ours to mend. Without debug information it compiles
  # faster, and one checkout's objects serve another's (ccache tells folders apart where there is any).
  target_compile_options(octavo_xgrammar PRIVATE -fno-sanitize=undefined -g0)
endif()
target_link_libraries(octavo_xgrammar PUBLIC Threads::Threads)
# A source of it takes a compiler up to 1 GB.
set_property(GLOBAL APPEND PROPERTY JOB_POOLS xgrammar=4)
# C++17, as it is written in: clang takes part of it for ill-formed in C++20.
set_target_properties(octavo_xgrammar PROPERTIES JOB_POOL_COMPILE xgrammar CXX_STANDARD 17)
