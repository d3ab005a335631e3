// fetch_blob(): one file of a model into the cache, going on with what an earlier attempt left
// there. Safe against other threads and processes that want the same file, huggingface_hub's too.
#pragma once

#include <atomic>
#include <string>

#include "hub/cache.h"
#include "hub/remote.h"
#include "octavo/status.h"

namespace octavo::hub {

struct BlobSource {
  const Remote& remote;
  const HubCache& cache;
  std::string model;
  std::string commit;
};

// Returns once blobs/<checksum> is there and its bytes have been checked. `done` grows (and, when a
// server makes us begin anew, shrinks) by the bytes that are there. A connection that breaks is
// tried again as long as something comes. Errors: kDataLoss when the bytes are twice not what the
// checksum says, kResourceExhausted when the disk is full, kCancelled once stop_fd is readable.
Status fetch_blob(const BlobSource& source, const RemoteFile& file, int stop_fd,
                  std::atomic<int64_t>& done);

}  // namespace octavo::hub
