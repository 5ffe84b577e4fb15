// Forward and backward of every loss: its rate, as a share of what the machine reaches on products (or, for
// losses bound by memory, on copying) in the same run, and its memory. losses/NAME.cpp has the cases of a
// loss.
//
//   of_products    GFLOP/s, by the formula in the loss's file, over those of the best square product on as
//   many
//                  threads (products_GFLOP/s)
//   of_copying     bytes that must at least be read or written, over the rate of copying
//   scratch_bytes  the most that the device's scratch arena held; kept_bytes: what the loss holds between
//   calls allocations    calls of operator new in a step once memory has grown
//
// --benchmark_filter=scaling runs the series over the batch size, --benchmark_filter=-scaling all others.
#include "support/ceilings.hpp"

#include <benchmark/benchmark.h>

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("products of vlp", vlp::benchmarks::backend());
  benchmark::AddCustomContext("products compared to", vlp::benchmarks::other_blas());
  benchmark::AddCustomContext("compiler", VLP_BENCHMARK_COMPILER);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
