/// \file
/// Checks a loss's gradients by central differences, and what every loss must keep to. Written once over the
/// Loss concept.
#pragma once

#include "support/catch.hpp"
#include "support/loss_case.hpp"

#include <cstring>

namespace vlp::test {

/// Largest relative error of the gradients of `upstream` * loss against central differences with steps of
/// `step`, over all elements of all differentiable inputs; infinite when one is not finite. `L` should be in
/// double. Good gradients of smooth losses stay below 1e-6.
template <Loss L>
double gradient_error(const typename L::Options& options, const Arrays& arrays, double step = 1e-5) {
  constexpr double upstream = 0.7;
  LossCase<L> analytic(arrays);
  analytic.run(options, 1, upstream);

  LossCase<L> moved(arrays);
  Cpu device(1);
  L loss(options);
  double error = 0;
  for (const auto& [name, gradient] : analytic.gradient_values()) {
    Array numeric{gradient.shape, {}};
    auto& memory = gradient.shape.empty() ? moved.numbers(name) : moved.values(name);
    for (auto& x : memory) {
      const auto here = x;
      x = here + step;
      const auto above = static_cast<double>(moved.forward(loss, device));
      x = here - step;
      const auto below = static_cast<double>(moved.forward(loss, device));
      x = here;
      numeric.values.push_back(upstream * (above - below) / (2 * step));
    }
    // A gradient that vanishes is compared on the scale of the loss's own rounding noise.
    error = std::max(error, relative_error(gradient, numeric, 1e-3));
  }
  return error;
}

/// True when both hold the same names, shapes and bits.
inline bool same_bits(const Arrays& a, const Arrays& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) {
           return x.first == y.first && x.second.shape == y.second.shape &&
                  x.second.values.size() == y.second.values.size() &&
                  std::memcmp(x.second.values.data(), y.second.values.data(),
                              x.second.values.size() * sizeof(double)) == 0;
         });
}

/// Largest relative error over arrays of the same names.
inline double relative_error(const Arrays& got, const Arrays& want) {
  if (got.size() != want.size()) return std::numeric_limits<double>::infinity();
  double error = 0;
  for (const auto& [name, array] : want) {
    const auto found = got.find(name);
    error = std::max(error, found == got.end() ? std::numeric_limits<double>::infinity()
                                               : relative_error(found->second, array));
  }
  return error;
}

/// What every loss keeps to, whatever it computes: results that do not depend on threads, strides or which
/// gradients are asked for; gradients that are overwritten, or added to when asked; nothing allocated in the
/// arena once it has its size.
template <Loss L>
void check_loss_contract(const typename L::Options& options, const Arrays& arrays) {
  using Accumulator = typename L::Accumulator;
  constexpr double tolerance = std::is_same_v<typename L::Scalar, double> ? 1e-12 : 1e-5;
  LossCase<L> reference(arrays);
  const Accumulator value = reference.run(options);
  const Arrays gradients = reference.gradient_values();
  REQUIRE(std::isfinite(value));
  CHECK(relative_error(gradients, gradients) == 0);  // all finite

  for (int threads : {2, 3, 8}) {
    INFO(threads << " threads");
    LossCase<L> other(arrays);
    CHECK(other.run(options, threads) == value);
    CHECK(same_bits(other.gradient_values(), gradients));
  }
  {
    INFO("strided");
    LossCase<L> other(arrays, {3, 5});
    CHECK(other.run(options) == Approx(value).epsilon(tolerance));
    CHECK(relative_error(other.gradient_values(), gradients) <= tolerance);
    CHECK(other.padding_untouched());
  }
  for (const auto& [name, gradient] : gradients) {
    INFO("without the gradient of " << name);
    LossCase<L> other(arrays);
    L::for_each_input(other.inputs, other.gradients,
                      [&](std::string_view other_name, auto&, auto&... skipped) {
                        if (other_name == name) ((skipped = {}), ...);
                      });
    Arrays rest = gradients;
    rest.erase(name);
    CHECK(other.run(options) == value);
    CHECK(relative_error(other.gradient_values(), rest) <= tolerance);
  }
  {
    INFO("accumulate, upstream, steady state");
    Cpu device(2);
    L loss(options);
    CHECK(reference.forward(loss, device) == value);
    reference.gradients.accumulate = true;
    loss.backward(device, reference.inputs, Accumulator(2), reference.gradients);
    Arrays thrice = gradients;
    for (auto& [name, array] : thrice)
      for (double& v : array.values) v *= 3;
    CHECK(relative_error(reference.gradient_values(), thrice) <= tolerance);

    reference.gradients.accumulate = false;
    const auto step = [&] {
      CHECK(reference.forward(loss, device) == value);
      loss.backward(device, reference.inputs, Accumulator(1), reference.gradients);
    };
    step();
    const std::size_t allocations = device.scratch().allocations();
    step();
    step();
    CHECK(device.scratch().allocations() == allocations);
    CHECK(same_bits(reference.gradient_values(), gradients));
  }
}

}  // namespace vlp::test
