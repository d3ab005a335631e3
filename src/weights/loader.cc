// Filling a model. A checkpoint is matched with the model's parameters by name first, so that every
// mistake is reported before any weight is written; then the matched tensors are cut into chunks of
// rows, and threads take chunks in the order of the file: check for NaN, hand to the parameter,
// drop the file's pages.
//
// Memory: a chunk a thread is all of the file that is ever mapped, so a load peaks at the weights
// themselves.
#include "weights/loader.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <new>
#include <set>
#include <thread>
#include <tuple>
#include <vector>

#include "base/clock.h"
#include "base/status_macros.h"
#include "ops/noise.h"
#include "weights/checkpoint.h"
#include "weights/finite.h"

namespace octavo {
namespace {

// Rows are cut at multiples of 64 (Parameter's promise); a chunk stays in a core's second-level
// cache between the check and the packing.
constexpr int64_t kRowBlock = 64;
constexpr int64_t kChunkBytes = 1 << 20;

struct Chunk {
  size_t parameter = 0;
  int64_t first_row = 0;
  int64_t rows = 0;
};

int64_t columns_of(const Shape& shape) {
  int64_t n = 1;
  for (int i = 1; i < shape.rank(); ++i) n *= shape[i];
  return n;
}

Shape with_rows(const Shape& shape, int64_t rows) {
  Shape s{rows};
  for (int i = 1; i < shape.rank(); ++i) s.push_back(shape[i]);
  return s;
}

void append_chunks(std::vector<Chunk>& chunks, size_t parameter, const Shape& shape,
                   size_t element) {
  if (shape.count() == 0) return;
  const int64_t row_bytes = columns_of(shape) * static_cast<int64_t>(element);
  const int64_t step = std::max(kRowBlock, kChunkBytes / row_bytes / kRowBlock * kRowBlock);
  for (int64_t row = 0; row < shape[0]; row += step) {
    chunks.push_back({parameter, row, std::min(step, shape[0] - row)});
  }
}

// Runs work(0 … count - 1) on `threads` threads, in about that order. Of several failures the one
// with the lowest index is returned, so that the message does not depend on the threads.
Status run_parallel(size_t count, int threads, const std::function<Status(size_t)>& work) {
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  size_t first_failure = count;
  Status failure;
  const auto worker = [&] {
    while (!failed.load(std::memory_order_relaxed)) {
      const size_t i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= count) return;
      Status s;
      try {
        s = work(i);
      } catch (const std::bad_alloc&) {
        s = resource_exhausted("no memory left while loading the weights");
      }
      if (s.ok()) continue;
      const std::lock_guard lock(mutex);
      failed = true;
      if (i < first_failure) {
        first_failure = i;
        failure = std::move(s);
      }
    }
  };
  std::vector<std::thread> others;
  const size_t wanted =
      std::min<size_t>(static_cast<size_t>(std::max(threads, 1)), std::max<size_t>(count, 1));
  for (size_t i = 1; i < wanted; ++i) others.emplace_back(worker);
  worker();
  for (std::thread& t : others) t.join();
  return failure;
}

std::vector<Parameter> parameters_of(Model& model) {
  std::vector<Parameter> parameters;
  model.for_each_parameter([&](const Parameter& p) { parameters.push_back(p); });
  return parameters;
}

// Buffers and copies that checkpoints carry and that no family here reads.
bool is_harmless_extra(std::string_view name) {
  for (std::string_view suffix : {".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias"}) {
    if (name.ends_with(suffix)) return true;
  }
  return name == "lm_head.weight";  // not a parameter: the head is tied to the embedding
}

std::string name_some(const std::vector<std::string>& names) {
  constexpr size_t kNamed = 5;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kNamed); ++i)
    text += (i ? ", '" : "'") + names[i] + "'";
  if (names.size() > kNamed) text += " and " + std::to_string(names.size() - kNamed) + " more";
  return text;
}

Status check_tensor(const Parameter& p, const CheckpointTensor& t) {
  const SafetensorsEntry& e = *t.entry;
  const std::string where = t.file->path() + ": tensor '" + e.name + "'";
  bool same = static_cast<int>(e.dims.size()) == p.shape.rank();
  for (int i = 0; same && i < p.shape.rank(); ++i)
    same = e.dims[static_cast<size_t>(i)] == p.shape[i];
  if (!same) {
    return data_loss(where + " has shape " + e.shape_text() + ", but config.json makes it " +
                     p.shape.to_string());
  }
  if (e.dtype != DType::kF32 && e.dtype != DType::kBF16 && e.dtype != DType::kF16) {
    return unimplemented(where + " has dtype " + e.dtype_name +
                         "; supported are F32, BF16 and F16");
  }
  return ok_status();
}

// For each parameter its tensor.
StatusOr<std::vector<const CheckpointTensor*>> match(const std::vector<Parameter>& parameters,
                                                     const Checkpoint& checkpoint) {
  std::vector<const CheckpointTensor*> matched;
  std::set<const CheckpointTensor*> used;
  std::vector<std::string> missing;
  for (const Parameter& p : parameters) {
    const CheckpointTensor* t = checkpoint.find(p.name);
    if (t == nullptr && !p.alias.empty()) t = checkpoint.find(p.alias);
    if (t == nullptr) missing.push_back(p.name);
    matched.push_back(t);
    used.insert(t);
  }
  std::vector<std::string> extra;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (!used.contains(&tensor) && !is_harmless_extra(name)) extra.push_back(name);
  }
  const std::string& where = checkpoint.name();
  std::string wrong;
  if (!missing.empty()) wrong = "missing " + name_some(missing);
  if (!extra.empty())
    wrong += (wrong.empty() ? "" : "; ") + ("not part of this model: " + name_some(extra));
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (matched[i] != nullptr) RETURN_IF_ERROR(check_tensor(parameters[i], *matched[i]));
  }
  if (!wrong.empty()) return data_loss(where + ": tensors " + wrong);
  return matched;
}

Status load_chunk(const Parameter& p, const CheckpointTensor& t, const Chunk& chunk) {
  const DType dtype = *t.entry->dtype;
  const auto row_bytes = static_cast<uint64_t>(columns_of(p.shape)) * size_of(dtype);
  const uint64_t begin = t.entry->begin + static_cast<uint64_t>(chunk.first_row) * row_bytes;
  const uint64_t end = begin + static_cast<uint64_t>(chunk.rows) * row_bytes;
  t.file->prefetch(begin, end);
  const std::byte* bytes = t.file->data(begin);
  // The format does not promise alignment; kernels want it.
  std::vector<std::byte> aligned;
  if (reinterpret_cast<uintptr_t>(bytes) % size_of(dtype) != 0) {
    aligned.assign(bytes, bytes + (end - begin));
    bytes = aligned.data();
  }
  const Tensor src{const_cast<std::byte*>(bytes), dtype, with_rows(p.shape, chunk.rows)};
  if (!all_finite(src)) {
    return data_loss(t.file->path() + ": tensor '" + t.entry->name +
                     "' holds a value that is not finite");
  }
  p.load_rows(chunk.first_row, src);
  t.file->drop(begin, end);
  return ok_status();
}

void fill_constant(const Parameter& p) {
  std::vector<float> values(static_cast<size_t>(p.shape.count()), p.fill);
  p.load_rows(0, {values.data(), DType::kF32, p.shape});
}

uint64_t hash_name(std::string_view name) {  // FNV-1a
  uint64_t h = 0xcbf29ce484222325;
  for (char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return h;
}

// Elements [first, first + out.size()) of a parameter's noise; two to a 64-bit draw. REQUIRES:
// first even.
void fill_noise(uint64_t key, uint64_t first, std::vector<float>& out) {
  for (size_t i = 0; i < out.size(); i += 2) {
    const uint64_t bits = noise_bits(key, (first + i) / 2);
    out[i] = noise_of_bits(static_cast<uint32_t>(bits));
    if (i + 1 < out.size()) out[i + 1] = noise_of_bits(static_cast<uint32_t>(bits >> 32));
  }
}

}  // namespace

StatusOr<LoadReport> load_safetensors(const std::filesystem::path& directory, Model& model,
                                      int threads) {
  const double start = steady_seconds();
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(directory));
  const std::vector<Parameter> parameters = parameters_of(model);
  ASSIGN_OR_RETURN(const std::vector<const CheckpointTensor*> matched,
                   match(parameters, checkpoint));

  LoadReport report{.file_bytes = static_cast<int64_t>(checkpoint.bytes())};
  std::vector<Chunk> chunks;
  for (size_t i = 0; i < parameters.size(); ++i) {
    report.num_parameters += parameters[i].shape.count();
    append_chunks(chunks, i, parameters[i].shape, size_of(*matched[i]->entry->dtype));
  }
  const auto place = [&](const Chunk& c) {
    return std::tuple(matched[c.parameter]->file, matched[c.parameter]->entry->begin, c.first_row);
  };
  std::sort(chunks.begin(), chunks.end(),
            [&](const Chunk& a, const Chunk& b) { return place(a) < place(b); });
  RETURN_IF_ERROR(run_parallel(chunks.size(), threads, [&](size_t i) {
    const Chunk& c = chunks[i];
    return load_chunk(parameters[c.parameter], *matched[c.parameter], c);
  }));
  report.seconds = steady_seconds() - start;
  return report;
}

StatusOr<LoadReport> load_dummy(Model& model, uint64_t seed, int threads) {
  const double start = steady_seconds();
  const std::vector<Parameter> parameters = parameters_of(model);
  const auto key_of = [seed](const Parameter& p) { return mix_bits(seed) ^ hash_name(p.name); };
  LoadReport report;
  std::vector<Chunk> chunks;
  for (size_t i = 0; i < parameters.size(); ++i) {
    report.num_parameters += parameters[i].shape.count();
    if (parameters[i].constant) {
      fill_constant(parameters[i]);
    } else if (!parameters[i].load_noise || !parameters[i].load_noise(key_of(parameters[i]))) {
      append_chunks(chunks, i, parameters[i].shape, sizeof(float));
    }
  }
  RETURN_IF_ERROR(run_parallel(chunks.size(), threads, [&](size_t i) {
    const Chunk& c = chunks[i];
    const Parameter& p = parameters[c.parameter];
    const int64_t columns = columns_of(p.shape);
    std::vector<float> values(static_cast<size_t>(c.rows * columns));
    fill_noise(key_of(p), static_cast<uint64_t>(c.first_row * columns), values);
    p.load_rows(c.first_row, {values.data(), DType::kF32, with_rows(p.shape, c.rows)});
    return ok_status();
  }));
  report.seconds = steady_seconds() - start;
  return report;
}

}  // namespace octavo
