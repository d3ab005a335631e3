# cmake -DSOURCE=openapi.json -DVERSION=1.2.3 -DOUTPUT=file.cc -P embed_openapi.cmake
# Writes openapi_document() (src/serve/views/openapi.h): the file as a string of the program, with the version in it.
file(READ ${SOURCE} text)
string(REPLACE "@version@" "${VERSION}" text "${text}")
# One literal a line: compilers need not take longer ones than 64 KiB.
string(REGEX REPLACE "([\\\\\"])" "\\\\\\1" text "${text}")
string(REGEX REPLACE "\n *" "\\\\n\"\n    \"" text "${text}")
file(WRITE ${OUTPUT} "// Made by cmake/embed_openapi.cmake.
#include \"serve/views/openapi.h\"

namespace octavo::serve {

std::string_view openapi_document() {
  return
    \"${text}\";
}

}  // namespace octavo::serve
")
