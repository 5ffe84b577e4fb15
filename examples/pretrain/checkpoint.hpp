/// \file
/// Checkpoints: the parameters, the state of the optimiser and where the run stands, in one safetensors file.
#pragma once

#include "pretrain/log.hpp"

#include <nlohmann/json.hpp>

#include <vlp/core/errors.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/io/safetensors.hpp>
#include <vlp/optim/adamw.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace vlp::pretrain {

/// Where a run stands.
struct Progression {
  Index step = 0;            ///< steps taken
  double best_loss = 1e300;  ///< the lowest held-out loss so far
  Index best_step = 0;       ///< when that was
};

/// What a checkpoint was made from.
struct Provenance {
  nlohmann::ordered_json settings;
  std::string data;  ///< fingerprint of the images and reports
};

namespace detail {
inline io::TensorRef tensor_of(const std::string& name, const std::vector<Index>& extents,
                               VectorView<float> values) {
  return io::tensor_ref(name, std::span<const float>(values.data(), static_cast<std::size_t>(values.size())),
                        extents);
}

inline void read_tensor(const io::SafeTensors& file, const std::string& name,
                        const std::vector<Index>& extents, VectorView<float> values) {
  ensure(file.shape(name) == extents, file.path(), ": tensor '", name,
         "' has another shape than in this model");
  std::ranges::copy(file.values<float>(name), values.data());
}
}  // namespace detail

/// Writes a checkpoint, atomically. `optimiser` may be null: then it serves evaluation alone.
inline void save_checkpoint(const std::string& path, const ParameterList<float>& parameters,
                            optim::AdamW<float>* optimiser, const Provenance& provenance,
                            const Progression& progression) {
  std::vector<io::TensorRef> tensors;
  for (const auto& [name, parameter] : parameters)
    tensors.push_back(detail::tensor_of(name, parameter->extents(), parameter->value()));
  if (optimiser != nullptr)
    optimiser->for_each_state(
        [&](const std::string& name, const std::vector<Index>& extents, VectorView<float> values) {
          tensors.push_back(detail::tensor_of("optimiser." + name, extents, values));
        });
  io::write_safetensors(path, tensors,
                        {{"settings", provenance.settings.dump()},
                         {"data", provenance.data},
                         {"step", std::to_string(progression.step)},
                         {"best_loss", number_text(progression.best_loss)},
                         {"best_step", std::to_string(progression.best_step)}});
}

/// Reads what save_checkpoint wrote. Throws, naming the file, when it is missing, damaged, of other settings,
/// of another model or, where training is to go on (`optimiser` is not null), of other data; then parameters
/// may be partly read.
inline Progression load_checkpoint(const std::string& path, const ParameterList<float>& parameters,
                                   optim::AdamW<float>* optimiser, const Provenance& provenance) {
  const io::SafeTensors file = io::read_safetensors(path);
  const auto saved = nlohmann::ordered_json::parse(file.metadata("settings"), nullptr, false);
  ensure(!saved.is_discarded(), path, ": its settings are not JSON");
  require_same_settings(provenance.settings, saved, path);
  ensure(optimiser == nullptr || file.metadata("data") == provenance.data, path,
         ": the images or reports have changed since this run began; start in another --out");
  for (const auto& [name, parameter] : parameters)
    detail::read_tensor(file, name, parameter->extents(), parameter->value());
  Progression progression{std::strtoll(file.metadata("step").c_str(), nullptr, 10),
                          std::strtod(file.metadata("best_loss").c_str(), nullptr),
                          std::strtoll(file.metadata("best_step").c_str(), nullptr, 10)};
  if (optimiser != nullptr) {
    optimiser->for_each_state(
        [&](const std::string& name, const std::vector<Index>& extents, VectorView<float> values) {
          detail::read_tensor(file, "optimiser." + name, extents, values);
        });
    optimiser->set_steps(progression.step);
  }
  return progression;
}

}  // namespace vlp::pretrain
