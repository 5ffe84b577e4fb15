/// \file
/// Tasks of hybrid pretraining over a handful of pairs.
#pragma once

#include "support/temporary_folder.hpp"
#include "tasks/few_pairs.hpp"

#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/parameters.hpp>
#include <vlp/tasks/hybrid.hpp>
#include <vlp/tasks/summarisation.hpp>

namespace vlp::test {

/// Models of some hundred numbers on few_pairs(16), with all terms at work.
inline tasks::HybridOptions small_hybrid_options() {
  tasks::HybridOptions options;
  options.pairs = small_options().pairs;
  options.objective.lambda_global = 0.8;
  options.objective.lambda_token = 0.7;
  options.objective.lambda_summary = 0.6;
  options.objective.lambda_caption = 0.5;
  options.objective.lambda_distillation = 0.4;
  options.objective.lambda_perturbation = 0.9;
  return options;
}

/// Writes a summariser that was trained for a step, so to say: its weights are off their starting values.
template <class Scalar, class Device>
void write_summariser(Device& device, const tasks::HybridOptions& options, const data::Dataset& dataset,
                      const io::Path& path) {
  tasks::Summarisation<Scalar, Device> task(device, options, dataset,
                                            tasks::build_vocabulary(dataset, options));
  Random random(11);
  for (const auto& [name, parameter] : task.parameters()) {
    auto values = download_value(device, *parameter);
    for (Scalar& value : values) value += Scalar(0.1) * static_cast<Scalar>(random.normal());
    upload_value(device, *parameter, values);
  }
  io::write_parameters(device, path, task.parameters());
}

/// A task over few_pairs(16) beside a summariser of its options.
struct HybridSetup {
  explicit HybridSetup(const tasks::HybridOptions& given) : options(given) {
    write_summariser<double>(device, options, dataset, summariser);
  }
  Cpu device{1};
  data::Dataset dataset = few_pairs(16);
  TemporaryFolder folder;
  io::Path summariser = folder / "best.safetensors";
  tasks::HybridOptions options;
  tasks::Hybrid<double> task() {
    return {device, options, dataset, tasks::build_vocabulary(dataset, options), summariser};
  }
};

}  // namespace vlp::test
