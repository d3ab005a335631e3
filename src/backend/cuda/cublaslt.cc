// The library is column-major: out^T [n, m] = (weight^T)^T x^T, where the row-major matrices are
// read as their transposes, so nothing moves.
#include "backend/cuda/cublaslt.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/rounding.h"

namespace octavo::cuda {
namespace {

constexpr const char* kLibrary = "libcublasLt.so.13";
constexpr const char* kOp = "cublasLtMatmul";

struct Api {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtGetVersion) version;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) propose;
  decltype(&cublasLtMatmulAlgoCheck) check;
  decltype(&cublasLtMatmulDescCreate) create_product;
  decltype(&cublasLtMatmulDescDestroy) destroy_product;
  decltype(&cublasLtMatmulDescSetAttribute) set_product;
  decltype(&cublasLtMatrixLayoutCreate) create_layout;
  decltype(&cublasLtMatrixLayoutDestroy) destroy_layout;
  decltype(&cublasLtMatmulPreferenceCreate) create_preference;
  decltype(&cublasLtMatmulPreferenceDestroy) destroy_preference;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference;
};

// The library stays loaded until the process ends: it has threads and exit handlers of its own.
StatusOr<Api> load_library() {
  void* library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    return not_found(std::string("cannot load ") + kLibrary + ": " + (why ? why : "no reason"));
  }
  Api api = {};
  const char* missing = nullptr;
  auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, name));
    if (function == nullptr && missing == nullptr) missing = name;
  };
  find(api.create, "cublasLtCreate");
  find(api.destroy, "cublasLtDestroy");
  find(api.version, "cublasLtGetVersion");
  find(api.matmul, "cublasLtMatmul");
  find(api.propose, "cublasLtMatmulAlgoGetHeuristic");
  find(api.check, "cublasLtMatmulAlgoCheck");
  find(api.create_product, "cublasLtMatmulDescCreate");
  find(api.destroy_product, "cublasLtMatmulDescDestroy");
  find(api.set_product, "cublasLtMatmulDescSetAttribute");
  find(api.create_layout, "cublasLtMatrixLayoutCreate");
  find(api.destroy_layout, "cublasLtMatrixLayoutDestroy");
  find(api.create_preference, "cublasLtMatmulPreferenceCreate");
  find(api.destroy_preference, "cublasLtMatmulPreferenceDestroy");
  find(api.set_preference, "cublasLtMatmulPreferenceSetAttribute");
  if (missing != nullptr) return not_found(std::string(kLibrary) + " has no " + missing);
  return api;
}

// What decides which kernel serves a call. Lies in the cache file as it is.
struct Key {
  int32_t m = 0;  // rounded
  int32_t n = 0, k = 0;
  int32_t dtype = 0;
  int32_t out_is_float = 0, has_residual = 0, has_bias = 0;
  int32_t unused = 0;
  auto operator<=>(const Key&) const = default;
};

// Up, to at most eight values between powers of two.
int rounded_rows(int m) {
  const int step = std::max(64, static_cast<int>(std::bit_floor(static_cast<unsigned>(m))) / 8);
  return round_up(m, step);
}

Key key_of(const LinearCall& call) {
  return {rounded_rows(call.m),
          call.n,
          call.k,
          static_cast<int32_t>(call.dtype),
          call.out_is_float,
          call.residual != nullptr,
          call.bias != nullptr};
}

struct Plan {
  cublasLtMatmulAlgo_t algorithm = {};
  uint64_t workspace_bytes = 0;
};
static_assert(sizeof(Plan) == 72 && sizeof(Key) == 32);

// The library's descriptions of one call with m rows: of the product and of the four matrices.
class Description {
 public:
  Description(const Api& api, const LinearCall& call, int m) : api_(api) {
    const cudaDataType_t in = call.dtype == DType::kF16 ? CUDA_R_16F : CUDA_R_16BF;
    const cudaDataType_t out = call.out_is_float ? CUDA_R_32F : in;
    const auto rows = static_cast<uint64_t>(m), n = static_cast<uint64_t>(call.n),
               k = static_cast<uint64_t>(call.k);
    ok_ = api.create_product(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS &&
          api.create_layout(&weight, in, k, n, call.k) == CUBLAS_STATUS_SUCCESS &&
          api.create_layout(&x, in, k, rows, call.k) == CUBLAS_STATUS_SUCCESS &&
          api.create_layout(&result, out, n, rows, call.n) == CUBLAS_STATUS_SUCCESS &&
          set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    if (ok_ && call.bias != nullptr) {
      ok_ = set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS) &&
            set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F) &&
            set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, call.bias);
    }
  }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;
  ~Description() {
    for (cublasLtMatrixLayout_t layout : {weight, x, result}) {
      if (layout != nullptr) api_.destroy_layout(layout);
    }
    if (product != nullptr) api_.destroy_product(product);
  }
  bool ok() const { return ok_; }

  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t weight = nullptr, x = nullptr, result = nullptr;  // result: residual too

 private:
  template <typename T>
  bool set(cublasLtMatmulDescAttributes_t attribute, T value) {
    return api_.set_product(product, attribute, &value, sizeof value) == CUBLAS_STATUS_SUCCESS;
  }
  const Api& api_;
  bool ok_ = false;
};

// The file: kMagic, count, count × (Key, Plan), checksum of all before it.
constexpr uint64_t kMagic = 0x31'74'6C'62'63'74'63'6F;  // "octcblt1"

uint64_t checksum(std::span<const char> bytes) {  // FNV-1a
  uint64_t sum = 14695981039346656037u;
  for (char c : bytes) sum = (sum ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return sum;
}

template <typename T>
void append(std::vector<char>& to, const T& value) {
  const auto* bytes = reinterpret_cast<const char*>(&value);
  to.insert(to.end(), bytes, bytes + sizeof value);
}

// Anything but a whole file of this format counts as none.
std::map<Key, Plan> read_plans(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  size_t at = 0;
  auto take = [&](auto& value) {
    if (bytes.size() - at < sizeof value) return false;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    at += sizeof value;
    return true;
  };
  uint64_t magic = 0, count = 0, sum = 0;
  if (!take(magic) || magic != kMagic || !take(count)) return {};
  if (count != (bytes.size() - at) / (sizeof(Key) + sizeof(Plan))) return {};
  std::map<Key, Plan> plans;
  for (uint64_t i = 0; i < count; ++i) {
    Key key;
    Plan plan;
    take(key);
    take(plan);
    plans[key] = plan;
  }
  const size_t end = at;
  if (!take(sum) || at != bytes.size() || sum != checksum({bytes.data(), end})) return {};
  return plans;
}

// All or nothing: a reader never sees half a file. Failure only costs the next start its hints.
void write_plans(const std::filesystem::path& path, const std::map<Key, Plan>& plans) {
  std::vector<char> bytes;
  append(bytes, kMagic);
  append(bytes, uint64_t{plans.size()});
  for (const auto& [key, plan] : plans) {
    append(bytes, key);
    append(bytes, plan);
  }
  append(bytes, checksum(bytes));

  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  std::filesystem::path temporary = path;
  temporary += "." + std::to_string(getpid());
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (file) std::filesystem::rename(temporary, path, error);
  if (!file || error) std::filesystem::remove(temporary, error);
}

// Empty if there is no place for a cache.
std::filesystem::path cache_file(size_t version) {
  std::filesystem::path folder;
  auto set = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (!set("OCTAVO_CACHE_DIR").empty()) {
    folder = set("OCTAVO_CACHE_DIR");
  } else if (!set("XDG_CACHE_HOME").empty()) {
    folder = std::filesystem::path(set("XDG_CACHE_HOME")) / "octavo";
  } else if (!set("HOME").empty()) {
    folder = std::filesystem::path(set("HOME")) / ".cache" / "octavo";
  } else {
    return {};
  }
  int device = 0;
  cudaDeviceProp properties = {};
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaGetDeviceProperties(&properties, device) != cudaSuccess) {
    return {};
  }
  std::string gpu = properties.name;
  std::replace_if(
      gpu.begin(), gpu.end(),
      [](char c) { return !std::isalnum(static_cast<unsigned char>(c)) && c != '-'; }, '_');
  return folder / ("cublaslt-" + gpu + "-" + std::to_string(version) + ".bin");
}

}  // namespace

struct CublasLt::State {
  Api api = {};
  cublasLtHandle_t handle = nullptr;
  std::filesystem::path file;

  std::mutex mutex;
  // Guarded by mutex.
  std::map<Key, Plan> plans;
  std::map<Key, Plan> from_file;  // not yet checked by the library
  bool changed = false;

  // At most proposals.size() plans for the call as if it had m rows, best first; how many.
  int propose(const LinearCall& call, int m, size_t bytes,
              std::span<cublasLtMatmulHeuristicResult_t> proposals) const;
  // False: the library knows none.
  bool find_plan(const LinearCall& call, size_t bytes, Plan& plan);
  cublasStatus_t multiply(const Launch& on, const LinearCall& call, const Plan& plan,
                          void* workspace) const;
  void save();
};

int CublasLt::State::propose(const LinearCall& call, int m, size_t bytes,
                             std::span<cublasLtMatmulHeuristicResult_t> proposals) const {
  const Description d(api, call, m);
  cublasLtMatmulPreference_t preference = nullptr;
  if (!d.ok() || api.create_preference(&preference) != CUBLAS_STATUS_SUCCESS) return 0;
  const uint64_t limit = bytes;
  api.set_preference(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &limit, sizeof limit);
  for (cublasLtMatmulPreferenceAttributes_t alignment :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    const uint32_t sixteen = 16;  // what LinearCall promises
    api.set_preference(preference, alignment, &sixteen, sizeof sixteen);
  }
  int count = 0;
  if (api.propose(handle, d.product, d.weight, d.x, d.result, d.result, preference,
                  static_cast<int>(proposals.size()), proposals.data(),
                  &count) != CUBLAS_STATUS_SUCCESS) {
    count = 0;
  }
  api.destroy_preference(preference);
  return count;
}

bool CublasLt::State::find_plan(const LinearCall& call, size_t bytes, Plan& plan) {
  const Key key = key_of(call);
  std::lock_guard lock(mutex);
  if (auto it = plans.find(key); it != plans.end() && it->second.workspace_bytes <= bytes) {
    plan = it->second;
    return true;
  }
  if (auto it = from_file.find(key); it != from_file.end()) {
    const Plan stored = it->second;
    from_file.erase(it);
    const Description d(api, call, key.m);
    cublasLtMatmulHeuristicResult_t checked = {};
    if (d.ok() &&
        api.check(handle, d.product, d.weight, d.x, d.result, d.result, &stored.algorithm,
                  &checked) == CUBLAS_STATUS_SUCCESS &&
        checked.workspaceSize <= bytes) {
      plan = {stored.algorithm, checked.workspaceSize};
      plans[key] = plan;
      return true;
    }
  }
  cublasLtMatmulHeuristicResult_t proposal = {};
  if (propose(call, key.m, bytes, {&proposal, 1}) == 0) return false;
  plan = {proposal.algo, proposal.workspaceSize};
  plans[key] = plan;
  changed = true;
  return true;
}

cublasStatus_t CublasLt::State::multiply(const Launch& on, const LinearCall& call, const Plan& plan,
                                         void* workspace) const {
  const Description d(api, call, call.m);
  if (!d.ok()) return CUBLAS_STATUS_ALLOC_FAILED;
  const float one = 1, keep = call.residual != nullptr ? 1 : 0;
  const void* residual = call.residual != nullptr ? call.residual : call.out;
  return api.matmul(handle, d.product, &one, call.weight, d.weight, call.x, d.x, &keep, residual,
                    d.result, call.out, d.result, &plan.algorithm, workspace, plan.workspace_bytes,
                    on.stream);
}

void CublasLt::State::save() {
  std::lock_guard lock(mutex);
  if (!changed || file.empty()) return;
  std::map<Key, Plan> all = from_file;
  for (const auto& [key, plan] : plans) all[key] = plan;
  write_plans(file, all);
  changed = false;
}

CublasLt::CublasLt(std::unique_ptr<State> state) : state_(std::move(state)) {}

CublasLt::~CublasLt() {
  state_->save();
  state_->api.destroy(state_->handle);
}

StatusOr<std::unique_ptr<CublasLt>> CublasLt::open() {
  StatusOr<Api> api = load_library();
  if (!api.ok()) return api.status();
  auto state = std::make_unique<State>();
  state->api = *api;
  const cublasStatus_t status = state->api.create(&state->handle);
  if (status != CUBLAS_STATUS_SUCCESS) {
    return internal_error("cublasLtCreate failed with status " + std::to_string(status));
  }
  state->file = cache_file(state->api.version());
  if (!state->file.empty()) state->from_file = read_plans(state->file);
  return std::unique_ptr<CublasLt>(new CublasLt(std::move(state)));
}

bool CublasLt::takes(const LinearCall& call) {
  return call.m > 0 && call.n > 0 && call.k > 0 && call.k % 8 == 0 &&
         call.activation == Activation::kNone && call.next_gain == nullptr &&
         call.squares == nullptr &&
         (call.out_is_float ? call.residual == nullptr : call.bias == nullptr);
}

void CublasLt::run(const Launch& on, const LinearCall& call, void* workspace, size_t bytes) {
  Plan plan;
  if (state_->find_plan(call, bytes, plan) &&
      state_->multiply(on, call, plan, workspace) == CUBLAS_STATUS_SUCCESS) {
    return;
  }
  // A plan for the rounded shape may not fit the shape itself.
  cublasLtMatmulHeuristicResult_t own = {};
  if (state_->propose(call, call.m, bytes, {&own, 1}) == 0 ||
      state_->multiply(on, call, {own.algo, own.workspaceSize}, workspace) !=
          CUBLAS_STATUS_SUCCESS) {
    note_error(kOp, cudaErrorNotSupported);
  }
}

Status CublasLt::tune(const Launch& on, const LinearCall& call, void* workspace, size_t bytes) {
  constexpr int kRuns = 20;
  std::array<cublasLtMatmulHeuristicResult_t, 8> proposals = {};
  const Key key = key_of(call);
  const int count = state_->propose(call, key.m, bytes, proposals);
  cudaEvent_t begin = nullptr, end = nullptr;
  if (cudaEventCreate(&begin) != cudaSuccess || cudaEventCreate(&end) != cudaSuccess) {
    return internal_error("cannot create events");
  }
  float least = 0;
  Plan best;
  for (int i = 0; i < count; ++i) {
    const Plan plan = {proposals[i].algo, proposals[i].workspaceSize};
    bool ran = state_->multiply(on, call, plan, workspace) == CUBLAS_STATUS_SUCCESS;  // loads it
    cudaEventRecord(begin, on.stream);
    for (int r = 0; r < kRuns && ran; ++r)
      ran = state_->multiply(on, call, plan, workspace) == CUBLAS_STATUS_SUCCESS;
    cudaEventRecord(end, on.stream);
    float milliseconds = 0;
    ran = cudaEventSynchronize(end) == cudaSuccess && ran;
    ran = cudaEventElapsedTime(&milliseconds, begin, end) == cudaSuccess && ran;
    if (ran && (least == 0 || milliseconds < least)) {
      least = milliseconds;
      best = plan;
    }
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  if (least == 0) return unimplemented("cuBLASLt proposes no kernel for this shape");
  {
    std::lock_guard lock(state_->mutex);
    state_->plans[key] = best;
    state_->changed = true;
  }
  state_->save();
  return ok_status();
}

}  // namespace octavo::cuda
