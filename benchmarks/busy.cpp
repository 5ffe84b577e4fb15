// All threads against one, on a machine that does nothing else and on one whose other processors are taken:
// by a process that spins on each, all but one. Prints, for work of long, of short and of very short loops,
// how many times as fast as one thread all are; ends with 1 where on the busy machine that is less than 0.8.
//
//   benchmark_busy [THREADS [ROUNDS]]    by default all threads, and 7 rounds of which the median counts
#include "support/alignment_cases.hpp"
#include "support/loss_run.hpp"
#include "support/pair_cases.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <vlp/core/cpu.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/local_alignment.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace vlp::benchmarks {
namespace {

/// Processes that do nothing, as fast as they can, for as long as this lives.
class Spinners {
 public:
  explicit Spinners(int count) {
    for (int i = 0; i < count; ++i) {
      const pid_t child = fork();
      if (child == 0)
        for (std::atomic<unsigned> n = 0;; n.fetch_add(1, std::memory_order_relaxed)) {
        }
      if (child > 0) children_.push_back(child);
    }
  }
  Spinners(const Spinners&) = delete;
  Spinners& operator=(const Spinners&) = delete;
  ~Spinners() {
    for (const pid_t child : children_) {
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
    }
  }

 private:
  std::vector<pid_t> children_;
};

using Step = std::function<void()>;

/// One kind of work, on a number of threads that is to be had.
struct Work {
  std::string name;
  std::function<Step(int threads)> on;
};

template <Loss L>
Work loss_work(std::string name, const Case& shape) {
  return {std::move(name), [=](int threads) -> Step {
            return [run = std::make_shared<LossRun<L>>(shape.arrays, typename L::Options{}, threads)] {
              run->step();
            };
          }};
}

/// Chains of products, each of a dozen pieces of some microseconds, with as much between them on one thread:
/// what a step of a small model is made of.
Work small_products() {
  return {"96 products of 512 x 64 x 64, and as many sums", [](int threads) -> Step {
            struct State {
              explicit State(int count) : device(count), a(512 * 64, 0.01f), b(64 * 64, 0.02f), c(512 * 64) {}
              Cpu device;
              std::vector<float> a, b, c;
              float sum = 0;
            };
            return [state = std::make_shared<State>(threads)] {
              for (int i = 0; i < 96; ++i) {
                matmul<float>(state->device, {state->a.data(), {512, 64}}, Op::none,
                              {state->b.data(), {64, 64}}, Op::none,
                              MatrixView<float>(state->c.data(), {512, 64}));
                float sum = 0;
                for (const float x : state->c) sum += x;
                state->sum = sum;
              }
            };
          }};
}

/// Steps a second, over a fifth of a second.
double rate(const Step& step) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  std::chrono::duration<double> taken{};
  int steps = 0;
  do {
    step();
    ++steps;
    taken = Clock::now() - start;
  } while (taken.count() < 0.2);
  return steps / taken.count();
}

/// The median, over rounds in turns, of how many times as fast as one thread all are.
double times_one_thread(const Step& one, const Step& all, int rounds) {
  std::vector<double> ratios;
  for (int round = 0; round < rounds; ++round) {
    const double of_one = rate(one);
    ratios.push_back(rate(all) / of_one);
  }
  std::nth_element(ratios.begin(), ratios.begin() + rounds / 2, ratios.end());
  return ratios[static_cast<std::size_t>(rounds / 2)];
}

int run(int threads, int rounds) {
  constexpr double bar = 0.8;
  const std::vector<Work> works{loss_work<LocalAlignment<float>>("local alignment, B=16 W=30 R=49 D=128",
                                                                 local_alignment_case(16, 30, 49, 128)),
                                loss_work<InfoNce<float>>("InfoNCE, B=512 D=128", info_nce_case(512, 128)),
                                small_products()};
  std::printf(
      "%d threads against one, times as fast\n\n| work | quiet machine | %d of %d processors taken |\n",
      threads, threads - 1, threads);
  std::printf("|---|---:|---:|\n");
  bool is_slow = false;
  for (const Work& work : works) {
    const Step one = work.on(1), all = work.on(threads);
    const double quiet = times_one_thread(one, all, rounds);
    const Spinners others(threads - 1);
    const double busy = times_one_thread(one, all, rounds);
    std::printf("| %s | %.2f | %.2f |\n", work.name.c_str(), quiet, busy);
    std::fflush(stdout);
    is_slow = is_slow || busy < bar;
  }
  if (is_slow) std::printf("\non the busy machine, less than %.1f\n", bar);
  return is_slow ? 1 : 0;
}

}  // namespace
}  // namespace vlp::benchmarks

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : vlp::Cpu().threads();
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 7;
  if (threads < 2 || rounds < 1) {
    std::fprintf(stderr, "usage: benchmark_busy [THREADS, at least 2 [ROUNDS]]\n");
    return 2;
  }
  return vlp::benchmarks::run(threads, rounds);
}
