// The page at `/`: a chat and a view of the engine, in files that the build compresses and puts
// into the program (src/serve/page/, cmake/embed_page.cmake). io thread.
#pragma once

#include <string_view>
#include <vector>

#include "serve/transport/http_server.h"

namespace octavo::serve {

struct PageFile {
  std::string_view path;  // "/" or "/page/…"
  std::string_view content_type;
  std::string_view etag;     // quoted
  std::string_view gzipped;  // the contents
};

// All files of the page; `/` is first.
const std::vector<PageFile>& page_files();

// The file at request.path: 200, 304 if the client has it, 404 if there is none. The files exist
// only compressed; a client that does not take gzip gets 406 and a line that says what to do.
HttpResponse show_page(const HttpRequest& request);

}  // namespace octavo::serve
