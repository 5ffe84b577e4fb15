/// \file
/// How a loss becomes a benchmark on a CUDA device: a file losses_cuda/NAME.cpp describes its cases, and this
/// times them. A loop of our own and not Google Benchmark, since a machine with a GPU often has a compiler,
/// CMake and little else.
#pragma once

#include "losses_cuda/support/device_allocations.hpp"
#include "losses_cuda/support/device_ceilings.hpp"
#include "losses_cuda/support/device_run.hpp"
#include "losses_cuda/support/report.hpp"
#include "losses_cuda/support/timing.hpp"
#include "support/case.hpp"

#include <cuda_profiler_api.h>
#include <cuda_runtime.h>

#include <vlp/core/errors.hpp>
#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace vlp::benchmarks {

/// A stream of the program's own: the one that is there anyway cannot be captured.
class Stream {
 public:
  Stream() {
    cudaStream_t stream = nullptr;
    cuda::check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
    stream_.reset(stream);
  }
  [[nodiscard]] cudaStream_t get() const noexcept { return stream_.get(); }

 private:
  struct Destroy {
    void operator()(cudaStream_t stream) const noexcept { cudaStreamDestroy(stream); }
  };
  std::unique_ptr<std::remove_pointer_t<cudaStream_t>, Destroy> stream_;
};

/// Tools that all cases are timed with.
struct Bench {
  cudaStream_t stream;
  CacheFlush& flush;
  DeviceCeilings ceilings;
  CudaOptions options;
  bool quick;
};

/// A case that waits to be timed.
struct Entry {
  std::string loss, shape;
  bool quick;  ///< small: for a smoke test, and for nothing else
  bool has_bar;
  std::function<Row(const Bench&)> run;
  std::function<void(const Bench&)> profile;  ///< one step, between cudaProfilerStart and cudaProfilerStop
};
inline std::vector<Entry>& entries() {
  static std::vector<Entry> all;
  return all;
}

namespace detail {

/// As many steps as fill half a second, 5 to 100; two in a smoke test. Throws what a step throws.
inline int count_of(const Bench& bench, double milliseconds) {
  if (bench.quick) return 2;
  return static_cast<int>(std::clamp(500 / std::max(milliseconds, 1e-3), 5.0, 100.0));
}

template <Loss L>
void set_floors(const Case& shape, const DeviceCeilings& ceilings, Row& row) {
  using Scalar = typename L::Scalar;
  const double bytes = shape.elements * sizeof(Scalar);
  const double products = std::is_same_v<Scalar, float> ? 0 : bar_products;
  const double least_flop = shape.least_flop > 0 ? shape.least_flop : shape.flop;
  if (shape.flop <= 0 || products > 0)
    row.bar_floor = 1e3 * std::max(products > 0 ? least_flop / products : 0.0, bytes / bar_copying);
  row.measured_floor = 1e3 * std::max(shape.flop / ceilings.products<Scalar>(), bytes / ceilings.copying);
}

/// Steps by themselves, then as graphs, one for each set of inputs.
template <Loss L>
void time_steps(const Bench& bench, Cuda& device, DeviceRun<L>& run, Row& row) {
  const Times first = time(device, bench.flush, 3, [&](int i) { run.step(i); });
  const int count = count_of(bench, Times::least(first.device));
  const std::int64_t before = device_allocations();
  row.step = time(device, bench.flush, count, [&](int i) { run.step(i); });
  row.allocations = device_allocations() - before;
  row.value = static_cast<double>(run.value());
  if (!std::isfinite(row.value)) row.problem = concat("the loss is ", row.value);
  try {
    std::vector<Graph> graphs;
    for (int i = 0; i < run.sets(); ++i) graphs.push_back(Graph::capture(bench.stream, [&] { run.step(i); }));
    row.launches = graphs.front().nodes();
    const auto replay = [&](int i) {
      graphs[static_cast<std::size_t>(i) % graphs.size()].launch(bench.stream);
    };
    time(device, bench.flush, run.sets(), replay);  // the first launch of a graph takes it to the device
    row.graph = time(device, bench.flush, count, replay);
    device.synchronize();
  } catch (const std::runtime_error& error) {
    row.problem = concat("not captured: ", error.what());
  }
}

template <Loss L>
Row measure(const Bench& bench, const Case& shape, const typename L::Options& options, const Bar& bar) {
  Row row{.loss = std::string(L::name),
          .type = std::string(type_name<typename L::Scalar>),
          .sizes = shape.sizes,
          .bar = bar,
          .step = {},
          .graph = {},
          .problem = {}};
  if (!shape.variant.empty()) row.loss += ", " + shape.variant;
  set_floors<L>(shape, bench.ceilings, row);
  try {
    Cuda device(bench.stream, bench.options);
    DeviceRun<L> run(device, shape.arrays, options, 2 * cache_bytes(), bench.quick ? 2 : 16);
    time_steps(bench, device, run, row);
    row.scratch_bytes = run.scratch_bytes();
    row.kept_bytes = run.kept_bytes();
  } catch (const std::exception& error) {
    row.problem = error.what();
  }
  return row;
}

template <Loss L>
void profile(const Bench& bench, const Case& shape, const typename L::Options& options) {
  Cuda device(bench.stream, bench.options);
  DeviceRun<L> run(device, shape.arrays, options, 0, 1);
  device.synchronize();
  cuda::check(cudaProfilerStart(), "starting a profile");
  run.step(0);
  device.synchronize();
  cuda::check(cudaProfilerStop(), "stopping a profile");
}

template <Loss L>
void add_entry(const Case& shape, bool quick, const Bar& bar, const typename L::Options& options) {
  entries().push_back({std::string(L::name), shape_text(shape.sizes), quick, bar.is_set(),
                       [=](const Bench& bench) { return measure<L>(bench, shape, options, bar); },
                       [=](const Bench& bench) { profile<L>(bench, shape, options); }});
}

}  // namespace detail

/// Times a case. Its bar, if it has one, holds for it.
template <Loss L>
void add(const Case& shape, const Bar& bar = {}, const typename L::Options& options = {}) {
  detail::add_entry<L>(shape, false, bar, options);
}

/// A small case for smoke tests.
template <Loss L>
void add_quick(const Case& shape, const typename L::Options& options = {}) {
  detail::add_entry<L>(shape, true, Bar{}, options);
}

}  // namespace vlp::benchmarks
