// Time of the CUDA sampler: of its kernels in a graph, over logits that are not in the L2 cache,
// and of a call of Sampler::sample() on the host.
//   bench_cuda_sampler [vocabulary]
//   bench_cuda_sampler --fault     a kernel fails: what PendingTokens::read() says, and when
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backend/cuda/sampler.h"
#include "backend/cuda/sampler_kernels.h"
#include "cuda_bench.cuh"

namespace octavo::cuda {
namespace {

using bench::check;

enum class Kind { kGreedy, kSampled, kLogprobs, kEdited };

struct Request {
  const char* name;
  Kind kind;
  float top_p = 1;
  int top_k = 0;
  float min_p = 0;
  int num_top = -1;
};

constexpr Request kRequests[] = {
    {"greedy", Kind::kGreedy},
    {"temperature", Kind::kSampled},
    {"top-p 0.95", Kind::kSampled, 0.95f},
    {"top-p 0.5", Kind::kSampled, 0.5f},
    {"min-p 0.05", Kind::kSampled, 1, 0, 0.05f},
    {"top-k 50", Kind::kSampled, 1, 50},
    {"top-k 20, top-p 0.95", Kind::kSampled, 0.95f, 20},
    {"greedy, logprobs 0", Kind::kLogprobs, 1, 0, 0, 0},
    {"greedy, logprobs 5", Kind::kLogprobs, 1, 0, 0, 5},
    {"greedy, logprobs 20", Kind::kLogprobs, 1, 0, 0, 20},
    {"greedy, penalties", Kind::kEdited},
};

struct Logits {
  const char* name;
  float spread;
  int peaks;  // tokens lifted by 20, one in so many; 0: none
};
constexpr Logits kLogits[] = {{"flat", 0.04f, 0}, {"peaked", 1.0f, 12000}};

constexpr int kMostRows = 256;
constexpr size_t kBytes = size_t{280} << 20;  // of logits, more than the L2 cache holds

class Bench {
 public:
  explicit Bench(int vocab) : vocab_(vocab) {
    check(cudaStreamCreateWithFlags(&on_.stream, cudaStreamNonBlocking));
    rows_ = static_cast<int>(kBytes / sizeof(float) / static_cast<size_t>(vocab));
    check(cudaMalloc(&logits_, sizeof(float) * static_cast<size_t>(rows_) * vocab));
    check(cudaMalloc(&edited_, sizeof(float) * kMostRows * static_cast<size_t>(vocab + 4)));
    check(cudaMalloc(&counts_, sizeof(uint32_t) * kMostRows * static_cast<size_t>(vocab)));
    check(cudaMemset(counts_, 0, sizeof(uint32_t) * kMostRows * static_cast<size_t>(vocab)));
    check(cudaMalloc(&slots_, sizeof(SlotState) * kMostRows));
    check(cudaHostAlloc(&results_, size_t{1} << 20, cudaHostAllocMapped));
  }

  const Launch& on() const { return on_; }
  float* logits() const { return logits_; }

  void fill(const Logits& kind) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(1 << 22);
    for (float& v : values) v = kind.spread * normal(random);
    for (size_t i = 0; kind.peaks > 0 && i < values.size(); i += static_cast<size_t>(kind.peaks)) {
      values[i] += 20;
    }
    const size_t count = static_cast<size_t>(rows_) * static_cast<size_t>(vocab_);
    for (size_t i = 0; i < count; i += values.size()) {
      check(cudaMemcpy(logits_ + i, values.data(),
                       sizeof(float) * std::min(values.size(), count - i), cudaMemcpyHostToDevice));
    }
  }

  // Microseconds of the kernels of one step.
  double time(const Request& request, int batch) {
    set_slots(request);
    const int steps = std::max(8, 2048 / batch);
    int next = 0;
    const bench::Recording recording(on_.stream, [&] {
      for (int step = 0; step < steps; ++step) launch_step(request, batch, next);
    });
    return recording.median_us() / steps;
  }

 private:
  void set_slots(const Request& request) {
    for (int i = 0; i < kMostRows; ++i) {
      SlotState state;
      state.seed = static_cast<uint64_t>(i) * 7919 + 1;
      state.top_p = request.top_p;
      state.top_k = request.top_k;
      state.log_min_p = request.min_p > 0 ? std::log(request.min_p) : -HUGE_VALF;
      if (request.kind == Kind::kEdited) {
        state.counts = counts_ + static_cast<size_t>(i) * vocab_;
        state.edits.repetition = 1.1f;
      }
      check(cudaMemcpy(slots_ + i, &state, sizeof(state), cudaMemcpyHostToDevice));
    }
  }

  void launch_step(const Request& request, int batch, int& next) {
    DrawRows draws;
    LogprobRows logprobs;
    EditRows edits;
    auto* records = reinterpret_cast<LogprobResult*>(results_ + 8 * kMostRows);
    std::byte* lists = results_ + (1 << 16);
    for (int i = 0; i < batch; ++i, ++next) {
      const float* row = logits_ + static_cast<size_t>(next % rows_) * vocab_;
      float* edited = edited_ + static_cast<size_t>(i) * ((vocab_ + 3) / 4 * 4);
      const bool edit = request.kind == Kind::kEdited;
      draws.row[draws.count++] = {edit ? edited : row, i, i};
      if (request.kind == Kind::kLogprobs) {
        if (logprobs.count == kLogprobRowsPerLaunch) late_.push_back(std::exchange(logprobs, {}));
        logprobs.row[logprobs.count++] = {row, ~i, request.num_top, records + i, lists + 160 * i};
      }
      if (edit) {
        edits.row[edits.count++] = {row, edited, nullptr, 0, i, false};
        if (edits.count == kEditRowsPerLaunch || i + 1 == batch) {
          edit_logits(on_, edits, vocab_, slots_);
          edits.count = 0;
        }
      }
    }
    const DrawResults results{reinterpret_cast<uint64_t*>(results_), 1};
    if (request.kind == Kind::kSampled) {
      draw_sampled(on_, draws, vocab_, slots_, results);
    } else {
      draw_greedy(on_, draws, vocab_, slots_, results);
    }
    late_.push_back(logprobs);
    for (const LogprobRows& rows : late_) {
      if (rows.count > 0) find_logprobs(on_, rows, vocab_, slots_, 1);
    }
    late_.clear();
  }

  const int vocab_;
  int rows_;
  Launch on_;
  float *logits_ = nullptr, *edited_ = nullptr;
  uint32_t* counts_ = nullptr;
  SlotState* slots_ = nullptr;
  std::byte* results_ = nullptr;
  std::vector<LogprobRows> late_;
};

double now_us() {
  using namespace std::chrono;
  return 1e-3 * static_cast<double>(
                    duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count());
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// What the worker thread spends in sample() and set_slot(), and from sample() to read().
void time_calls(Bench& bench, int vocab) {
  std::printf("\n%-24s %6s %10s %12s %12s\n", "calls", "rows", "sample us", "until read",
              "set_slot");
  for (const bool greedy : {true, false}) {
    for (const int rows : {1, 128, 256}) {
      auto sampler = make_cuda_sampler({kMostRows, vocab, 8192}, bench.on(), 8192);
      auto params = std::make_shared<SamplingParams>();
      params->temperature = greedy ? 0 : 1;
      params->top_p = greedy ? 1 : 0.95f;
      std::vector<SampleRow> sample_rows;
      std::vector<double> sets, samples, whole;
      for (int i = 0; i < rows; ++i) {
        SlotSetup setup;
        setup.slot = SlotId(i);
        setup.params = params;
        const double begin = now_us();
        sampler->set_slot(setup);
        sets.push_back(now_us() - begin);
        sample_rows.push_back({SlotId(i), i, {}, -1});
      }
      const Tensor logits{bench.logits(), DType::kF32, {rows, vocab}, DeviceKind::kCuda};
      std::vector<SampledToken> results(static_cast<size_t>(rows));
      for (int i = 0; i < 200; ++i) {
        const double begin = now_us();
        auto pending = sampler->sample(logits, sample_rows);
        const double launched = now_us();
        if (!pending->read(results).ok()) std::printf("read failed\n");
        samples.push_back(launched - begin);
        whole.push_back(now_us() - begin);
      }
      std::printf("%-24s %6d %10.1f %12.1f %12.1f\n", greedy ? "greedy" : "top-p 0.95", rows,
                  median(samples), median(whole), median(sets));
    }
  }
}

__global__ void fault_kernel() {
  __trap();
}

void provoke_fault(int vocab) {
  Bench bench(vocab);
  bench.fill(kLogits[0]);
  auto sampler = make_cuda_sampler({1, vocab, 8192}, bench.on(), 16);
  SlotSetup setup;
  setup.slot = SlotId(0);
  setup.params = std::make_shared<SamplingParams>();
  sampler->set_slot(setup);
  const SampleRow row{SlotId(0), 0, {}, -1};
  const Tensor logits{bench.logits(), DType::kF32, {1, vocab}, DeviceKind::kCuda};
  SampledToken result;
  std::printf("before: %s\n",
              sampler->sample(logits, {&row, 1})->read({&result, 1}).to_string().c_str());
  fault_kernel<<<1, 1, 0, bench.on().stream>>>();
  auto pending = sampler->sample(logits, {&row, 1});
  const double begin = now_us();
  const Status status = pending->read({&result, 1});
  std::printf("after: %s, in %.0f ms\n", status.to_string().c_str(), 1e-3 * (now_us() - begin));
}

void run(int vocab) {
  Bench bench(vocab);
  constexpr int kBatches[] = {1, 8, 32, 128, 256};
  for (const Logits& kind : kLogits) {
    bench.fill(kind);
    std::printf("\n%s logits, us a step\n%-24s", kind.name, "batch");
    for (const int batch : kBatches) std::printf("%8d", batch);
    std::printf("\n");
    for (const Request& request : kRequests) {
      std::printf("%-24s", request.name);
      for (const int batch : kBatches) std::printf("%8.1f", bench.time(request, batch));
      std::printf("\n");
    }
  }
  time_calls(bench, vocab);
  bench::launches_ok();
}

}  // namespace
}  // namespace octavo::cuda

int main(int argc, char** argv) {
  const bool fault = argc > 1 && std::strcmp(argv[1], "--fault") == 0;
  const int vocab = argc > 1 && !fault ? std::atoi(argv[1]) : 128256;
  cudaDeviceProp device;
  if (cudaGetDeviceProperties(&device, 0) != cudaSuccess) return 1;
  std::printf("%s, vocabulary %d\n", device.name, vocab);
  if (fault) {
    octavo::cuda::provoke_fault(vocab);
  } else {
    octavo::cuda::run(vocab);
  }
}
