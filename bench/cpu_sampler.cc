// Time to sample one row on one thread of the CPU, per instruction set and kind of request.
//   bench_cpu_sampler [--vocab N] [--isa NAME]
// In the thread's own processor time; the median of 9 samples of about 20 ms.
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/sampler.h"
#include "cpu_timing.h"

namespace octavo::cpu {
namespace {

struct Kind {
  const char* name;
  SamplingParams params;
  int num_logprobs = -1;
};

std::vector<Kind> kinds() {
  std::vector<Kind> all(8);
  all[0] = {"greedy"};
  all[0].params.temperature = 0;
  all[1] = {"temperature 1"};
  all[2] = {"top-k 50"};
  all[2].params.top_k = 50;
  all[3] = {"top-p 0.9"};
  all[3].params.top_p = 0.9f;
  all[4] = {"top-p 0.9 of top-k 50"};
  all[4].params.top_k = 50;
  all[4].params.top_p = 0.9f;
  all[5] = {"min-p 0.05"};
  all[5].params.min_p = 0.05f;
  all[6] = {"temperature 1 with penalties"};
  all[6].params.frequency_penalty = 1;
  all[7] = {"greedy with 20 logprobs"};
  all[7].params.temperature = 0;
  all[7].num_logprobs = 20;
  return all;
}

void run(int vocab, const std::string& wanted) {
  bench::clock_id = CLOCK_THREAD_CPUTIME_ID;
  ThreadPool pool(1);
  std::mt19937 engine(1);
  std::normal_distribution<float> normal(-1, 3);
  std::vector<float> logits(vocab);
  for (float& v : logits) v = normal(engine);
  for (int i = 0; i < 20; ++i) logits[i * 997 % vocab] = 14 - 0.5f * static_cast<float>(i);
  for (const Isa isa : machine_isas()) {
    if (!wanted.empty() && wanted != to_string(isa)) continue;
    for (const Kind& kind : kinds()) {
      const auto sampler = make_cpu_sampler(isa, pool, {1, vocab, 1 << 20});
      SlotSetup setup;
      setup.slot = SlotId(0);
      setup.params = std::make_shared<SamplingParams>(kind.params);
      sampler->set_slot(setup);
      const SampleRow row{SlotId(0), 0, {}, kind.num_logprobs};
      SampledToken result;
      const bench::Seconds call = bench::measure([&] {
        (void)sampler->sample({logits.data(), DType::kF32, {1, vocab}}, {&row, 1})
            ->read({&result, 1});
      });
      std::printf("%-8s %-30s vocabulary %6d: %8.1f us\n", std::string(to_string(isa)).c_str(),
                  kind.name, vocab, call.median * 1e6);
    }
  }
}

}  // namespace
}  // namespace octavo::cpu

int main(int argc, char** argv) {
  int vocab = 150000;
  std::string isa;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--vocab") vocab = std::atoi(argv[i + 1]);
    if (flag == "--isa") isa = argv[i + 1];
  }
  octavo::cpu::run(vocab, isa);
}
