// Forward and backward of every loss on a CUDA device: time, share of what the device reaches on products or
// on copying in the same run, and memory. losses_cuda/NAME.cpp has the cases of a loss.
//
//   benchmark_losses_cuda [--only LOSS]... [--bars | --no-bars] [--shape TEXT] [--quick]
//                         [--score-block-mib N] [--json FILE] [--note NAME=TEXT]...
//   benchmark_losses_cuda --list ...
//   benchmark_losses_cuda --profile ...
//
// --only times one loss; --bars only the cases that have a bar, --no-bars only the others; --shape those
// whose shape, as the table writes it, contains the text. --quick takes small shapes, a smoke test whose
// times mean nothing. --score-block-mib sets CudaOptions::score_block_bytes. Notes (the date, the driver)
// stand at the head of the table and in the JSON. --list times nothing and prints the losses that the other
// options leave, those with bars first. --profile takes one step of each case, for a profiler that is told to
// wait for cudaProfilerStart, and times nothing either. Ends with 1 where a case failed, with 2 where it was
// called wrongly or there is no device.
#include "losses_cuda/support/device_benchmark.hpp"
#include "losses_cuda/support/device_ceilings.hpp"
#include "losses_cuda/support/report.hpp"

#include <cuda_runtime.h>

#include <vlp/core/errors.hpp>
#include <vlp/cuda/core/check.cuh>
#include <vlp/cuda/core/cuda.cuh>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <exception>
#include <fstream>
#include <iostream>
#include <map>
#include <ostream>
#include <set>
#include <string>
#include <system_error>
#include <vector>

namespace {

using namespace vlp::benchmarks;
using vlp::require;

struct Arguments {
  std::set<std::string> only;
  bool bars = true, others = true;  // whether cases with a bar are timed, and those without
  std::string shape;
  bool quick = false, list = false, profile = false;
  vlp::CudaOptions options;
  std::string json;
  Context notes;

  [[nodiscard]] bool includes(const Entry& entry) const {
    return entry.quick == quick && (only.empty() || only.contains(entry.loss)) &&
           (quick || (entry.has_bar ? bars : others)) && entry.shape.find(shape) != std::string::npos;
  }
};

/// A whole number of MiB in bytes.
std::size_t mebibytes(const std::string& option, const std::string& value) {
  int number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  require(error == std::errc{} && end == value.data() + value.size() && number >= 1 && number <= 1 << 16,
          option, " needs a whole number from 1 to 65536, but is given ", value);
  return static_cast<std::size_t>(number) << 20;
}

Arguments parse(const std::vector<std::string>& words) {
  Arguments out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const std::map<std::string, bool*> switches{
        {"--quick", &out.quick}, {"--list", &out.list}, {"--profile", &out.profile}};
    if (const auto found = switches.find(word); found != switches.end()) {
      *found->second = true;
      continue;
    }
    if (word == "--bars" || word == "--no-bars") {
      (word == "--bars" ? out.others : out.bars) = false;
      continue;
    }
    const std::set<std::string> with_value{"--only", "--shape", "--score-block-mib", "--json", "--note"};
    require(with_value.contains(word), "there is no option ", word);
    require(i + 1 < words.size(), word, " needs a value");
    const std::string& value = words[++i];
    if (word == "--only") {
      out.only.insert(value);
    } else if (word == "--shape") {
      out.shape = value;
    } else if (word == "--score-block-mib") {
      out.options.score_block_bytes = mebibytes(word, value);
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
  require(out.list || std::any_of(entries().begin(), entries().end(),
                                  [&](const Entry& e) { return out.includes(e); }),
          "no case is left to time");
  return out;
}

/// The names of the losses with a case that the arguments include, those with bars first.
void write_list(std::ostream& out, const Arguments& arguments) {
  std::set<std::string> written;
  for (const bool has_bar : {true, false})
    for (const Entry& entry : entries())
      if (arguments.includes(entry) && entry.has_bar == has_bar && written.insert(entry.loss).second)
        out << entry.loss << '\n';
}

std::string version(int number) {
  return vlp::concat(number / 1000, '.', number % 1000 / 10);
}

/// Adds what the program itself knows of the machine.
Context describe(Context context, const vlp::CudaOptions& options) {
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
  context["workspace of cuBLAS"] = vlp::concat(options.product_workspace_bytes >> 20, " MiB, beside scratch");
  context["score block"] = vlp::concat(options.score_block_bytes >> 20, " MiB");
  context["highest clock"] = vlp::concat(clock / 1000, " MHz");
  return context;
}

/// Times the cases that the arguments include. Says whether every one of them ran.
bool run(const Arguments& arguments) {
  const Context context = describe(arguments.notes, arguments.options);
  const Stream stream;
  CacheFlush flush;
  if (arguments.profile) {
    const Bench bench{stream.get(), flush, {}, arguments.options, arguments.quick};
    for (const Entry& entry : entries())
      if (arguments.includes(entry)) entry.profile(bench);
    return true;
  }
  DeviceCeilings ceilings;
  {
    vlp::Cuda device(stream.get());
    ceilings = measure_ceilings(device, arguments.quick);
  }
  const Bench bench{stream.get(), flush, ceilings, arguments.options, arguments.quick};
  write_header(std::cout, context, ceilings);
  std::vector<Row> rows;
  bool well = true;
  for (const Entry& entry : entries()) {
    if (!arguments.includes(entry)) continue;
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
    const Arguments arguments = parse({argv + 1, argv + argc});
    if (arguments.list) {
      write_list(std::cout, arguments);
      return 0;
    }
    return run(arguments) ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << "benchmark_losses_cuda: " << error.what() << '\n';
    return 2;
  }
}
