/// \file
/// Checkpoints: the parameters, the state of the optimiser and where the run stands, in one safetensors file.
/// Parameters stand under their own names, so io/parameters.hpp reads them into any other model.
#pragma once

#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/io/safetensors.hpp>
#include <vlp/optim/adamw.hpp>
#include <vlp/train/log.hpp>
#include <vlp/train/settings.hpp>

#include <cstddef>
#include <cstdlib>
#include <deque>
#include <span>
#include <string>
#include <vector>

namespace vlp::train {

/// Where a run stands.
struct Progression {
  Index step = 0;            ///< steps taken
  double best_loss = 1e300;  ///< the lowest held-out loss so far
  Index best_step = 0;       ///< the step after which it was reached
};

/// Settings and data that a checkpoint was made from.
struct Provenance {
  Settings settings;
  std::string data;  ///< fingerprint of what is learned from
};

namespace detail {

/// Calls visit(name, extents, device memory) for each tensor of a checkpoint, the same for writing and
/// reading.
template <class Scalar, class Device, class Visit>
void for_each_tensor(const ParameterList<Scalar, Device>& parameters, optim::AdamW<Scalar, Device>* optimiser,
                     Visit&& visit) {
  for (const auto& [name, parameter] : parameters) visit(name, parameter->extents(), parameter->value());
  if (optimiser != nullptr)
    optimiser->for_each_state(
        [&](const std::string& name, const std::vector<Index>& extents, VectorView<Scalar> values) {
          visit("optimiser." + name, extents, values);
        });
}

}  // namespace detail

/// Writes a checkpoint, atomically. `optimiser` may be null: then it serves evaluation alone.
template <class Scalar, class Device>
void save_checkpoint(Device& device, const std::string& path, const ParameterList<Scalar, Device>& parameters,
                     optim::AdamW<Scalar, Device>* optimiser, const Provenance& provenance,
                     const Progression& progression) {
  std::vector<io::TensorRef> tensors;
  std::deque<std::vector<Scalar>> memory;
  detail::for_each_tensor(
      parameters, optimiser,
      [&](const std::string& name, const std::vector<Index>& extents, VectorView<Scalar> values) {
        auto& host = memory.emplace_back(static_cast<std::size_t>(values.size()));
        download(device, static_cast<const Scalar*>(values.data()), std::span(host));
        tensors.push_back(io::tensor_ref(name, std::span<const Scalar>(host), extents));
      });
  io::write_safetensors(path, tensors,
                        {{"settings", provenance.settings.dump()},
                         {"data", provenance.data},
                         {"step", std::to_string(progression.step)},
                         {"best_loss", number_text(progression.best_loss)},
                         {"best_step", std::to_string(progression.best_step)}});
}

/// Reads what save_checkpoint wrote. Throws, naming the file, when it is missing, damaged, of other settings,
/// of another model or, where training is to go on (`optimiser` is not null), of other data; parameters are
/// changed only when the whole file fits.
template <class Scalar, class Device>
Progression load_checkpoint(Device& device, const std::string& path,
                            const ParameterList<Scalar, Device>& parameters,
                            optim::AdamW<Scalar, Device>* optimiser, const Provenance& provenance) {
  const io::SafeTensors file = io::read_safetensors(path);
  const auto saved = Settings::parse(file.metadata("settings"), nullptr, false);
  ensure(!saved.is_discarded(), path, ": its settings are not JSON");
  require_same_settings(provenance.settings, saved, path);
  ensure(optimiser == nullptr || file.metadata("data") == provenance.data, path,
         ": the data have changed since this run began; start in another folder");
  const Progression progression{std::strtoll(file.metadata("step").c_str(), nullptr, 10),
                                std::strtod(file.metadata("best_loss").c_str(), nullptr),
                                std::strtoll(file.metadata("best_step").c_str(), nullptr, 10)};
  detail::for_each_tensor(
      parameters, optimiser,
      [&](const std::string& name, const std::vector<Index>& extents, VectorView<Scalar>) {
        ensure(file.shape(name) == extents, path, ": tensor '", name,
               "' has another shape than in this model");
      });
  detail::for_each_tensor(parameters, optimiser,
                          [&](const std::string& name, const std::vector<Index>&, VectorView<Scalar> values) {
                            const std::vector<Scalar> host = file.values<Scalar>(name);
                            upload(device, std::span<const Scalar>(host), values.data());
                          });
  if (optimiser != nullptr) optimiser->set_steps(progression.step);
  return progression;
}

}  // namespace vlp::train
