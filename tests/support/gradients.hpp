/// \file
/// Checks a loss's gradients by central differences, and what every loss must keep to. Written once over the
/// Loss concept.
#pragma once

#include "support/catch.hpp"
#include "support/device.hpp"
#include "support/loss_case.hpp"

#include <vlp/core/into.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <set>
#include <string>
#include <vector>

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
  auto device = make_device<typename L::Device>();
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

/// The same along `count` random directions in the space of all inputs at once, for shapes of many elements.
template <Loss L>
double directional_error(const typename L::Options& options, const Arrays& arrays, Random& random,
                         int count = 3, double step = 1e-5) {
  LossCase<L> analytic(arrays);
  analytic.run(options);
  auto device = make_device<typename L::Device>();
  L loss(options);
  double error = 0;
  for (int n = 0; n < count; ++n) {
    Arrays above = arrays, below = arrays;
    double expected = 0, scale = 1e-3;
    for (const auto& [name, gradient] : analytic.gradient_values()) {
      const Array direction = normal(random, gradient.shape);
      for (std::size_t i = 0; i < direction.values.size(); ++i) {
        above.at(name).values[i] += step * direction.values[i];
        below.at(name).values[i] -= step * direction.values[i];
        expected += gradient.values[i] * direction.values[i];
        scale += std::abs(gradient.values[i]);
      }
    }
    const auto high = static_cast<double>(LossCase<L>(above).forward(loss, device));
    const auto low = static_cast<double>(LossCase<L>(below).forward(loss, device));
    const double difference = std::abs((high - low) / (2 * step) - expected);
    error = std::isfinite(difference) ? std::max(error, difference / scale) : difference;
  }
  return error;
}

/// The rows of the first dimension in another order: of each array that has one entry per pair, which are all
/// but numbers and those that are `shared`.
inline Arrays permute_batch(const Arrays& arrays, const std::vector<std::size_t>& order,
                            const std::set<std::string>& shared = {}) {
  Arrays out = arrays;
  for (auto& [name, array] : out) {
    if (array.shape.empty() || shared.contains(name)) continue;
    const std::size_t width = array.values.size() / order.size();
    const std::vector<double>& from = arrays.at(name).values;
    for (std::size_t i = 0; i < order.size(); ++i)
      std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(order[i] * width), width,
                  array.values.begin() + static_cast<std::ptrdiff_t>(i * width));
  }
  return out;
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
inline double relative_error(const Arrays& got, const Arrays& want, double floor = 1e-6) {
  if (got.size() != want.size()) return std::numeric_limits<double>::infinity();
  double error = 0;
  for (const auto& [name, array] : want) {
    const auto found = got.find(name);
    error = std::max(error, found == got.end() ? std::numeric_limits<double>::infinity()
                                               : relative_error(found->second, array, floor));
  }
  return error;
}

/// The arrays as the loss is given them: numbers rounded to its types. Group ids and the like stay.
template <Loss L>
Arrays rounded(Arrays arrays) {
  const auto round = [&]<class T>(std::string_view name, const T*) {
    const auto found = arrays.find(std::string(name));
    if constexpr (!std::is_integral_v<T>)
      if (found != arrays.end())
        for (double& v : found->second.values) v = to_double(from_double<T>(v));
  };
  typename L::Inputs inputs{};
  typename L::Gradients gradients{};
  L::for_each_input(inputs, gradients, [&](std::string_view name, auto& input, auto&...) {
    if constexpr (requires { input.data(); })
      round(name, input.data());
    else
      round(name, input);
  });
  return arrays;
}

namespace detail {
template <class L>
struct ReferenceOf;
template <template <class, class> class L, class Scalar, class AnyDevice>
struct ReferenceOf<L<Scalar, AnyDevice>> {
  using type = L<double, Cpu>;
};
}  // namespace detail

/// The same loss in double on the CPU, which others are measured by.
template <class L>
using ReferenceOf = typename detail::ReferenceOf<L>::type;

/// Loss and gradients agree with those of `Reference`, given the same numbers. The error is the difference
/// to the largest element of each, or to `floor`: what cancels is no more exact than its terms. For the
/// loss, a difference of scores, it is 0.1 at least.
template <Loss L, Loss Reference = ReferenceOf<L>>
void check_against(const Arrays& arrays, const typename L::Options& options, Padding padding = {},
                   double floor = 1e-3) {
  constexpr double accuracy = accuracy_of_loss<L>();
  constexpr double upstream = 0.7;
  const Arrays given = rounded<L>(arrays);
  LossCase<Reference> want(given);
  LossCase<L> got(given, padding);
  const double want_loss = to_double(want.run(options, 1, upstream));
  const double got_loss = to_double(got.run(options, 1, upstream));
  CAPTURE(want_loss, got_loss);
  CHECK(relative_error(number(got_loss), number(want_loss), std::max(floor, 0.1)) <= accuracy);
  const Arrays want_gradients = want.gradient_values();
  for (const auto& [name, gradient] : got.gradient_values()) {
    INFO("gradient of " << name);
    CHECK(relative_error(gradient, want_gradients.at(name), floor) <= accuracy);
  }
  CHECK(got.padding_untouched());
}

/// The contract of every loss over a batch of pairs, whatever it computes: results that do not depend on
/// threads (or their order), strides or which gradients are asked for; gradients that move with their pairs
/// when the batch is reordered; gradients that are overwritten, or added to when asked; nothing allocated in
/// the arena once it has its size. `shared` names the arrays that all of the batch shares; `strided` is
/// padding that the loss must take.
template <Loss L>
void check_loss_contract(const typename L::Options& options, const Arrays& arrays,
                         const std::set<std::string>& shared = {}, Padding strided = {3, 5}) {
  using Accumulator = typename L::Accumulator;
  constexpr double tolerance = tolerance_of<typename L::Scalar>();
  LossCase<L> reference(arrays);
  const Accumulator value = reference.run(options);
  const Arrays gradients = reference.gradient_values();
  REQUIRE(std::isfinite(value));
  CHECK(relative_error(gradients, gradients) == 0);  // finite

  for (int variation : {2, 3, 8}) {
    CAPTURE(variation);
    LossCase<L> other(arrays);
    CHECK(other.run(options, variation) == value);
    CHECK(same_bits(other.gradient_values(), gradients));
  }
  {
    INFO("strided");
    LossCase<L> other(arrays, strided);
    CHECK(other.run(options) == Approx(value).epsilon(tolerance));
    CHECK(relative_error(other.gradient_values(), gradients) <= tolerance);
    CHECK(other.padding_untouched());
  }
  for (const auto& [name, gradient] : gradients) {
    INFO("without the gradient of " << name);
    LossCase<L> other(arrays);
    L::for_each_input(
        other.inputs, other.gradients,
        [&, without = std::string_view(name)](std::string_view other_name, auto&, auto&... skipped) {
          if (other_name == without) ((skipped = {}), ...);
        });
    Arrays rest = gradients;
    rest.erase(name);
    CHECK(other.run(options) == value);
    CHECK(relative_error(other.gradient_values(), rest) <= tolerance);
  }
  {
    INFO("batch in another order");
    const auto per_pair = std::find_if(arrays.begin(), arrays.end(), [&](const auto& named) {
      return !named.second.shape.empty() && !shared.contains(named.first);
    });
    std::vector<std::size_t> order(static_cast<std::size_t>(per_pair->second.shape[0]));
    std::iota(order.begin(), order.end(), std::size_t{0});
    Random(17).shuffle(order.begin(), order.end());
    LossCase<L> other(permute_batch(arrays, order, shared));
    CHECK(other.run(options) == Approx(value).epsilon(tolerance).margin(tolerance));
    CHECK(relative_error(other.gradient_values(), permute_batch(gradients, order, shared)) <= tolerance);
  }
  {
    INFO("accumulate, upstream, steady state");
    auto device = make_device<typename L::Device>(2);
    L loss(options);
    CHECK(reference.forward(loss, device) == value);
    reference.gradients.into = vlp::Into::add;
    loss.backward(device, reference.inputs, Accumulator(2), reference.gradients);
    Arrays thrice = gradients;
    for (auto& [name, array] : thrice)
      for (double& v : array.values) v *= 3;
    CHECK(relative_error(reference.gradient_values(), thrice) <= tolerance);

    reference.gradients.into = vlp::Into::overwrite;
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
