# `cmake --install build/release --prefix DIR`: the program, the bundled model, the public headers, and one library that
# holds the engine with all that it links, so that whoever builds on it needs find_package(octavo) and nothing else.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# The files of a target and of everything that it links: static libraries, as paths or generator expressions.
function(octavo_archives target result)
  get_property(archives GLOBAL PROPERTY octavo_archives)
  get_property(seen GLOBAL PROPERTY octavo_archives_seen)
  if(NOT target IN_LIST seen)
    set_property(GLOBAL APPEND PROPERTY octavo_archives_seen ${target})
    get_target_property(type ${target} TYPE)
    if(type STREQUAL STATIC_LIBRARY)
      set_property(GLOBAL APPEND PROPERTY octavo_archives $<TARGET_FILE:${target}>)
    elseif(type STREQUAL UNKNOWN_LIBRARY)  # found by a package, as CUDA's are
      get_target_property(location ${target} IMPORTED_LOCATION)
      if(location MATCHES "\\.a$")
        set_property(GLOBAL APPEND PROPERTY octavo_archives ${location})
      endif()
    endif()
    get_target_property(links ${target} INTERFACE_LINK_LIBRARIES)
    foreach(link ${links})
      if(TARGET ${link})
        octavo_archives(${link} ignored)
      elseif(link MATCHES "\\.a$")
        set_property(GLOBAL APPEND PROPERTY octavo_archives ${link})
      endif()
    endforeach()
  endif()
  get_property(archives GLOBAL PROPERTY octavo_archives)
  list(REMOVE_DUPLICATES archives)
  set(${result} ${archives} PARENT_SCOPE)
endfunction()

octavo_archives(octavo_engine archives)
list(JOIN archives "\naddlib " lines)
set(library ${CMAKE_BINARY_DIR}/liboctavo.a)
file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/liboctavo.mri CONTENT "create ${library}\naddlib ${lines}\nsave\nend\n")
add_custom_command(
  OUTPUT ${library}
  COMMAND sh -c "rm -f '${library}' && '${CMAKE_AR}' -M <'${CMAKE_BINARY_DIR}/liboctavo.mri' && '${CMAKE_RANLIB}' '${library}'"
  DEPENDS octavo_engine ${CMAKE_BINARY_DIR}/liboctavo.mri
  COMMENT "Joining liboctavo.a"
  VERBATIM)
add_custom_target(octavo_library ALL DEPENDS ${library})

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/octavoConfig.cmake.in ${CMAKE_BINARY_DIR}/octavoConfig.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/octavo
                              PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/octavoConfigVersion.cmake COMPATIBILITY SameMinorVersion)

install(TARGETS octavo RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
install(DIRECTORY models/octavo-tiny DESTINATION ${CMAKE_INSTALL_DATADIR}/octavo/models COMPONENT program)
install(DIRECTORY include/octavo DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
install(FILES ${library} DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(FILES ${CMAKE_BINARY_DIR}/octavoConfig.cmake ${CMAKE_BINARY_DIR}/octavoConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/octavo COMPONENT development)

# `cpack -G DEB` in the build folder: one package with the program and the model, which needs libc alone.
set(CPACK_PACKAGE_NAME octavo)
set(CPACK_PACKAGE_CONTACT "The Octavo authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Serves language models over the OpenAI API, on CPUs and NVIDIA Hopper GPUs")
set(CPACK_GENERATOR DEB)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL program)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libc6 (>= 2.34)")
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_STRIP_FILES ON)
include(CPack)
