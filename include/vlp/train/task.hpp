/// \file
/// The contract between a training loop and what is trained.
#pragma once

#include <vlp/core/parameters.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/train/terms.hpp>
#include <vlp/train/times.hpp>

#include <concepts>
#include <string>
#include <vector>

namespace vlp::train {

/// Data, a model and an objective together, as a training loop sees them: terms and parameters, never the
/// inside of a batch.
///
/// - `make_batch(step)` is called on the input thread, beside all other calls, for rising steps; the batch
///   depends on the task's seed and on the step alone, so that a run that goes on meets the same.
/// - `step(device, batch)` is forward, losses and backward: it adds the gradients of the batch to
///   gradients(), which the loop has set to zero.
/// - `constrain(device)` brings parameters back into their bounds after each update of the optimiser.
/// - `held_out(device)` are the mean terms over the examples that are not trained on.
/// - `terms()` are the names and weights that step and held_out report, with values of 0, and with chance
///   levels of 0 for the terms that have one.
/// - `readings(device)` are numbers worth logging after each update, such as learned scales.
/// - `parameters()` are all of the model, which checkpoints hold; `trained()` those of them that the
/// optimiser
///   changes; `gradients()` the one memory that holds all gradients.
/// - `describe(device, batch)` says, after step, which rows of the batch are not finite.
/// - `times()` is where the task sums up the seconds of its parts.
template <class T>
concept Task = requires(T task, typename T::Device& device, const typename T::Batch& batch, Index step) {
  { task.make_batch(step) } -> std::same_as<typename T::Batch>;
  { task.examples_per_step() } -> std::convertible_to<Index>;
  { task.steps_per_epoch() } -> std::convertible_to<Index>;
  { task.terms() } -> std::convertible_to<Terms>;
  { task.step(device, batch) } -> std::same_as<Terms>;
  { task.held_out(device) } -> std::same_as<Terms>;
  { task.readings(device) } -> std::same_as<std::vector<Reading>>;
  { task.parameters() } -> std::convertible_to<ParameterList<typename T::Scalar, typename T::Device>>;
  { task.trained() } -> std::convertible_to<ParameterList<typename T::Scalar, typename T::Device>>;
  { task.gradients() } -> std::same_as<VectorView<typename T::Scalar>>;
  { task.describe(device, batch) } -> std::convertible_to<std::string>;
  { task.times() } -> std::same_as<Times&>;
  task.constrain(device);
};

}  // namespace vlp::train
