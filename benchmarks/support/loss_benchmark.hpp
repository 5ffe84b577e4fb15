/// \file
/// How a loss becomes a benchmark: a file losses/NAME.cpp describes its cases, and this times them.
#pragma once

#include "support/allocations.hpp"
#include "support/case.hpp"
#include "support/ceilings.hpp"
#include "support/loss_run.hpp"

#include <benchmark/benchmark.h>

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <type_traits>

namespace vlp::benchmarks {

namespace detail {

/// The run of the benchmark that was asked for last. Google Benchmark calls a benchmark several times over,
/// with more iterations each time; inputs are drawn and memory grows once.
struct Current {
  std::string name;
  std::shared_ptr<void> run;
};
inline Current& current() {
  static Current one;
  return one;
}

template <Loss L>
LossRun<L>& prepared(const std::string& name, const Case& shape, const typename L::Options& options,
                     int threads) {
  if (current().name != name) {
    current() = {};  // frees the last one's memory first
    current() = {name, std::make_shared<LossRun<L>>(shape.arrays, options, threads)};
  }
  return *static_cast<LossRun<L>*>(current().run.get());
}

/// Counters beside the time: rates, what share of the ceiling they are, and memory.
template <Loss L>
void count(benchmark::State& state, const Case& shape, LossRun<L>& run, int threads, double seconds) {
  const auto rate = [&](const std::string& name, const std::string& share, const std::string& limit,
                        double of_step, double ceiling) {
    state.counters[name] = of_step / seconds * 1e-9;
    state.counters[share] = of_step / seconds / ceiling;
    state.counters[limit] = ceiling * 1e-9;
  };
  using Scalar = typename L::Scalar;
  if (shape.flop > 0)
    rate("GFLOP/s", "of_products", "products_GFLOP/s", shape.flop, product_rate<Scalar>(threads));
  if (shape.elements > 0)
    rate("GB/s", "of_copying", "copying_GB/s", shape.elements * sizeof(Scalar), copy_rate(threads));
  state.counters["scratch_bytes"] = static_cast<double>(run.scratch_bytes());
  state.counters["kept_bytes"] = static_cast<double>(run.kept_bytes());
}

template <Loss L>
void time_steps(benchmark::State& state, const std::string& name, const Case& shape,
                const typename L::Options& options, int threads, int warm_up) {
  const bool fresh = current().name != name;
  LossRun<L>& run = prepared<L>(name, shape, options, threads);
  for (int i = 0; fresh && i < warm_up; ++i) run.step();
  const std::int64_t before = allocations();
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) run.step();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  const auto steps = static_cast<double>(state.iterations());
  state.counters["allocations"] = static_cast<double>(allocations() - before) / steps;
  count(state, shape, run, threads, taken.count() / steps);
}

template <Loss L>
void add(const std::string& prefix, const Case& shape, const typename L::Options& options, int threads,
         int warm_up) {
  std::string name =
      concat(prefix, L::name, std::is_same_v<typename L::Scalar, float> ? "/float" : "/double");
  if (!shape.variant.empty()) name += '/' + shape.variant;
  for (const auto& [size, value] : shape.sizes) name += concat('/', size, ':', value);
  name += concat("/threads:", threads);
  benchmark::RegisterBenchmark(name.c_str(),
                               [=](benchmark::State& state) {
                                 time_steps<L>(state, name, shape, options, threads, warm_up);
                                 if (!prefix.empty())
                                   state.counters["B"] = as_double(shape.sizes.front().second);
                               })
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

}  // namespace detail

/// Times a case on one thread, on two, and on all that the machine has.
template <Loss L>
void add(const Case& shape, const typename L::Options& options = {}) {
  const int machine = Cpu().threads();
  for (const int threads : std::set<int>{1, std::min(2, machine), machine})
    detail::add<L>("", shape, options, threads, 2);
}

/// Times a contrastive case with all scores kept for backward, which then takes three products, not four.
template <Loss L>
void add_with_scores_kept(Case shape) {
  shape.variant = "scores_kept";
  shape.flop *= 6.0 / 8;
  typename L::Options options;
  options.kept_score_bytes = std::size_t(8) << 30;
  add<L>(shape, options);
}

/// Times a case of a series over the batch size, the first of its sizes, on all threads. Takes one step
/// before, not three, since a step may take minutes; so the first step timed still asks for memory.
template <Loss L>
void add_to_scaling(const Case& shape, const typename L::Options& options = {}) {
  detail::add<L>("scaling/", shape, options, Cpu().threads(), 0);
}

}  // namespace vlp::benchmarks
