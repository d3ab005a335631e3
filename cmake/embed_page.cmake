# cmake -DSOURCE=folder -DOUTPUT=file.cc -P embed_page.cmake
# Writes page_files() (src/serve/views/page.h): every file of the folder, compressed, as bytes of the program. index.html is `/`,
# every other file `/page/<name>`.
set(types html "text/html\\; charset=utf-8" css "text/css\\; charset=utf-8" js "text/javascript\\; charset=utf-8"
          svg "image/svg+xml")
file(GLOB names RELATIVE ${SOURCE} ${SOURCE}/*.html ${SOURCE}/*.css ${SOURCE}/*.js ${SOURCE}/*.svg)
list(SORT names)
list(REMOVE_ITEM names index.html)

set(arrays "")
set(rows "")
set(count 0)
foreach(name index.html ${names})
  set(compressed ${OUTPUT}.gz)
  file(ARCHIVE_CREATE OUTPUT ${compressed} PATHS ${SOURCE}/${name} FORMAT raw COMPRESSION GZip COMPRESSION_LEVEL 9)
  file(SIZE ${compressed} size)
  file(READ ${compressed} bytes HEX)
  file(REMOVE ${compressed})
  # No time in gzip's header (bytes 4 to 7): equal sources give equal programs.
  string(SUBSTRING ${bytes} 0 8 before_time)
  string(SUBSTRING ${bytes} 16 -1 after_time)
  set(bytes ${before_time}00000000${after_time})
  string(REGEX REPLACE "(..)" "\\\\x\\1" bytes "${bytes}")
  string(REGEX REPLACE "(................................................................................)" "\"\\1\"\n"
         bytes "${bytes}")
  string(REGEX REPLACE "(\n|^)([^\"\n]+)$" "\\1\"\\2\"\n" bytes "${bytes}")
  string(APPEND arrays "constexpr char kFile${count}[] =\n${bytes};\n")
  file(SHA256 ${SOURCE}/${name} hash)
  string(SUBSTRING ${hash} 0 16 hash)
  string(REGEX MATCH "[a-z]+$" extension ${name})
  list(FIND types ${extension} at)
  math(EXPR at "${at} + 1")
  list(GET types ${at} type)
  string(REPLACE "\\;" ";" type "${type}")
  set(path /page/${name})
  if(name STREQUAL index.html)
    set(path /)
  endif()
  string(APPEND rows "      {\"${path}\", \"${type}\", \"\\\"${hash}\\\"\", {kFile${count}, ${size}}},\n")
  math(EXPR count "${count} + 1")
endforeach()

file(WRITE ${OUTPUT} "// Made by cmake/embed_page.cmake.
#include \"serve/views/page.h\"

namespace octavo::serve {
namespace {
${arrays}}  // namespace

const std::vector<PageFile>& page_files() {
  static const std::vector<PageFile> files = {
${rows}  };
  return files;
}

}  // namespace octavo::serve
")
