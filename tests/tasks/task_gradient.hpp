/// \file
/// The gradient of a whole task against central differences.
#pragma once

#include "support/catch.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/train/terms.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace vlp::test {

/// Moves parameters off their starting values, where biases are zero and scales are equal.
inline void unsettle(const ParameterList<double>& parameters, Random& random) {
  for (const auto& [name, parameter] : parameters)
    for (Index i = 0; i < parameter->size(); ++i)
      parameter->value()[i] += 0.1 * static_cast<double>(random.normal());
}

/// Checks that a step adds to the gradient of each of `parameters` what central differences of `loss()` say
/// in a random direction of its elements, that no gradient is zero everywhere, and that the total is the
/// weighted sum of the terms, of which those with a weight have a value.
template <class Task, class Batch, class Loss>
void check_task_gradient(Cpu& device, Task& task, const Batch& batch, const ParameterList<double>& parameters,
                         Random& random, Loss&& loss) {
  // A step adds to what the gradients hold.
  fill(device, task.gradients().data(), task.gradients().size(), 0.25);
  const train::Terms terms = task.step(device, batch);
  CHECK(std::isfinite(terms.total));
  double sum = 0;
  for (const train::Term& term : terms.terms) {
    INFO("term " << term.name);
    CHECK((term.value > 0) == (term.weight > 0));
    sum += term.weight * term.value;
  }
  CHECK(std::abs(terms.total - sum) < 1e-12);
  CHECK(std::abs(terms.total - loss()) < 1e-12);

  for (const auto& [name, parameter] : parameters) {
    double largest = 0;
    for (Index i = 0; i < parameter->size(); ++i)
      largest = std::max(largest, std::abs(parameter->gradient()[i] - 0.25));
    INFO("parameter " << name);
    CHECK(largest > 0);
    const VectorView<double> value = parameter->value(), gradient = parameter->gradient();
    const std::vector<double> before(value.data(), value.data() + value.size());
    std::vector<double> direction(before.size());
    double slope = 0;
    for (std::size_t i = 0; i < direction.size(); ++i) {
      // Of about unit length: norms of two channels bend within a thousandth.
      direction[i] = static_cast<double>(random.normal()) / std::sqrt(static_cast<double>(before.size()));
      slope += direction[i] * (gradient[static_cast<Index>(i)] - 0.25);
    }
    constexpr double step = 2e-5;
    const auto loss_at = [&](double steps) {
      for (std::size_t i = 0; i < before.size(); ++i)
        value[static_cast<Index>(i)] = before[i] + steps * step * direction[i];
      return loss();
    };
    const double numeric = (8 * (loss_at(1) - loss_at(-1)) - (loss_at(2) - loss_at(-2))) / (12 * step);
    std::copy(before.begin(), before.end(), value.data());
    CHECK(std::abs(slope - numeric) <= 2e-7 * (1 + std::abs(numeric)));
  }
}

}  // namespace vlp::test
