// Forward and backward of every loss on a CUDA device: time, share of what the device reaches on products or
// on copying in the same run, and memory. losses_cuda/NAME.cpp has the cases of a loss.
//
//   benchmark_losses_cuda [--only LOSS]... [--quick] [--json FILE] [--note NAME=TEXT]...
//
// --only times one loss; --quick small shapes, a smoke test whose times mean nothing. Notes (the date, the
// driver) stand at the head of the table and in the JSON. Ends with 1 where a case failed, with 2 where it
// was called wrongly or there is no device.
#include "losses_cuda/support/device_benchmark.hpp"
#include "losses_cuda/support/device_ceilings.hpp"
#include "losses_cuda/support/report.hpp"

#include <cuda_runtime.h>

#include <vlp/core/errors.hpp>
#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/cuda.cuh>

#include <algorithm>
#include <exception>
#include <fstream>
#include <iostream>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace vlp::benchmarks;
using vlp::require;

struct Arguments {
  std::set<std::string> only;
  bool quick = false;
  std::string json;
  Context notes;
};

Arguments parse(const std::vector<std::string>& words) {
  Arguments out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--quick") {
      out.quick = true;
      continue;
    }
    require(word == "--only" || word == "--json" || word == "--note", "there is no option ", word);
    require(i + 1 < words.size(), word, " needs a value");
    const std::string& value = words[++i];
    if (word == "--only") {
      out.only.insert(value);
    } else if (word == "--json") {
      out.json = value;
    } else {
      const std::size_t equals = value.find('=');
      require(equals != std::string::npos, "--note needs NAME=TEXT, but is given ", value);
      out.notes[value.substr(0, equals)] = value.substr(equals + 1);
    }
  }
  for (const std::string& loss : out.only)
    require(std::any_of(entries().begin(), entries().end(), [&](const Entry& e) { return e.loss == loss; }),
            "--only: there is no loss ", loss);
  return out;
}

std::string version(int number) {
  return vlp::concat(number / 1000, '.', number % 1000 / 10);
}

/// Adds what the program itself knows of the machine.
Context describe(Context context) {
  int device = 0, driver = 0, runtime = 0, clock = 0, multiprocessors = 0;
  vlp::cuda::check(cudaGetDevice(&device), "looking for a device");
  cudaDeviceProp properties{};
  vlp::cuda::check(cudaGetDeviceProperties(&properties, device), "asking for the device's name");
  vlp::cuda::check(cudaDriverGetVersion(&driver), "asking for the driver's version");
  vlp::cuda::check(cudaRuntimeGetVersion(&runtime), "asking for the runtime's version");
  vlp::cuda::check(cudaDeviceGetAttribute(&clock, cudaDevAttrClockRate, device), "asking for the clock");
  vlp::cuda::check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device),
                   "asking for the number of multiprocessors");
  context["card"] = vlp::concat(properties.name, ", ", multiprocessors, " multiprocessors, L2 ",
                                cache_bytes() >> 20, " MiB");
  context["CUDA"] = vlp::concat("runtime ", version(runtime), ", the driver's ", version(driver));
#ifdef __CUDACC_VER_MAJOR__
  context["compiler"] = vlp::concat("nvcc ", __CUDACC_VER_MAJOR__, '.', __CUDACC_VER_MINOR__);
#endif
  context["workspace of cuBLAS"] =
      vlp::concat(vlp::CudaOptions{}.product_workspace_bytes >> 20, " MiB, beside scratch");
  context["highest clock"] = vlp::concat(clock / 1000, " MHz");
  return context;
}

/// Whether every case ran.
bool run(const Arguments& arguments) {
  const Context context = describe(arguments.notes);
  const Stream stream;
  CacheFlush flush;
  DeviceCeilings ceilings;
  {
    vlp::Cuda device(stream.get());
    ceilings = measure_ceilings(device, arguments.quick);
  }
  const Bench bench{stream.get(), flush, ceilings, arguments.quick};
  write_header(std::cout, context, ceilings);
  std::vector<Row> rows;
  bool well = true;
  for (const Entry& entry : entries()) {
    if (entry.quick != arguments.quick || (!arguments.only.empty() && !arguments.only.contains(entry.loss)))
      continue;
    rows.push_back(entry.run(bench));
    write_row(std::cout, rows.back());
    well = well && rows.back().problem.empty();
    if (arguments.json.empty()) continue;
    std::ofstream json(arguments.json);  // again after each, so that what is there survives what comes
    write_json(json, context, ceilings, rows);
    vlp::ensure(json.good(), "cannot write ", arguments.json);
  }
  return well;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(parse({argv + 1, argv + argc})) ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << "benchmark_losses_cuda: " << error.what() << '\n';
    return 2;
  }
}
