/// \file
/// Gradients of layers against central differences: written once for every layer.
#pragma once

#include "support/catch.hpp"

#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace vlp::test {

/// `size` normal random numbers.
template <class Scalar = double>
std::vector<Scalar> normal_values(Index size, std::uint32_t stream) {
  Random random(11, stream);
  std::vector<Scalar> out(static_cast<std::size_t>(size));
  for (Scalar& x : out) x = static_cast<Scalar>(random.normal());
  return out;
}

/// Takes sum(output * upstream) over a layer's outputs, with random upstream, as a function of its inputs and
/// parameters, and compares backward with central differences of it, in double.
class LayerGradient {
 public:
  using Values = std::vector<double>;

  explicit LayerGradient(Cpu& device) : device_(device) {}

  /// An input of the layer and where backward puts its gradient.
  void input(std::string name, Values& value, Values& gradient) {
    gradient.assign(value.size(), std::nan(""));
    checked_.push_back({std::move(name), value.data(), gradient.data(), static_cast<Index>(value.size())});
    gradients_of_inputs_.push_back(&gradient);
  }
  /// An output of the layer and where backward reads the gradient by it; both get `size` elements.
  void output(Values& value, Values& upstream, Index size) {
    value.assign(static_cast<std::size_t>(size), std::nan(""));
    upstream = normal_values(size, 1000 + static_cast<std::uint32_t>(outputs_.size()));
    outputs_.push_back({&value, &upstream});
  }
  /// All parameters of the layer. They are moved off their starting values, where biases are all zero.
  template <class Layer>
  void parameters(Layer& layer) {
    parameters_.emplace(device_, layer);
    Random random(5);
    for (auto& [name, parameter] : parameters_->list()) {
      for (Index i = 0; i < parameter->size(); ++i)
        parameter->value()[i] += 0.1 * static_cast<double>(random.normal());
      checked_.push_back({name, parameter->value().data(), parameter->gradient().data(), parameter->size()});
    }
  }

  /// Compares up to `most` elements of each array.
  template <class Forward, class Backward>
  void check(Forward&& forward, Backward&& backward, Index most = 30) {
    forward();
    if (parameters_) parameters_->zero_gradients(device_);
    backward();
    std::vector<Values> exact;
    for (const auto& c : checked_) exact.emplace_back(c.gradient, c.gradient + c.size);
    // A second pass adds to the gradients of parameters and overwrites those of inputs.
    backward();
    for (std::size_t i = 0; i < checked_.size(); ++i) {
      const double factor = i < gradients_of_inputs_.size() ? 1 : 2;
      INFO("second backward pass, " << checked_[i].name);
      for (Index j = 0; j < checked_[i].size; ++j) {
        const double expected = factor * exact[i][static_cast<std::size_t>(j)];
        if (!(std::abs(checked_[i].gradient[j] - expected) <= 1e-9 * (1 + std::abs(expected))))
          FAIL(checked_[i].gradient[j] << " at " << j << ", expected " << expected);
      }
    }
    Random random(3);
    for (std::size_t i = 0; i < checked_.size(); ++i) {
      const auto& c = checked_[i];
      const double step = 5e-5;
      const bool all = c.size <= most;
      for (Index k = 0; k < std::min(c.size, most); ++k) {
        const Index j = all ? k : static_cast<Index>(random.below(static_cast<std::uint32_t>(c.size)));
        const double before = c.value[j];
        const auto loss_at = [&](double steps) {
          c.value[j] = before + steps * step;
          return loss(forward);
        };
        // Four points: normalisation of small values is too curved for two.
        const double numeric = (8 * (loss_at(1) - loss_at(-1)) - (loss_at(2) - loss_at(-2))) / (12 * step);
        c.value[j] = before;
        const double analytic = exact[i][static_cast<std::size_t>(j)];
        INFO("gradient by " << c.name << " at " << j);
        CHECK(std::abs(analytic - numeric) <= 2e-7 * (1 + std::abs(numeric)));
      }
    }
  }

 private:
  struct Checked {
    std::string name;
    double* value;
    const double* gradient;
    Index size;
  };
  struct Output {
    const Values* value;
    const Values* upstream;
  };

  template <class Forward>
  double loss(Forward& forward) const {
    forward();
    double sum = 0;
    for (const auto& [value, upstream] : outputs_)
      for (std::size_t i = 0; i < value->size(); ++i) sum += (*value)[i] * (*upstream)[i];
    return sum;
  }

  Cpu& device_;
  std::optional<Parameters<double>> parameters_;
  std::vector<Checked> checked_;  // inputs first
  std::vector<Values*> gradients_of_inputs_;
  std::vector<Output> outputs_;
};

/// Contiguous memory as a view.
template <class T, class... Extents>
auto as_view(std::vector<T>& values, Extents... extents) {
  return View<T, sizeof...(Extents)>(values.data(), {static_cast<Index>(extents)...});
}
template <class T, class... Extents>
auto as_view(const std::vector<T>& values, Extents... extents) {
  return View<const T, sizeof...(Extents)>(values.data(), {static_cast<Index>(extents)...});
}

/// The largest absolute difference; NaN if there is one.
template <class A, class B>
double largest_difference(const A& a, const B& b) {
  if (a.size() != b.size()) return std::nan("");
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(difference <= worst)) worst = difference;
    if (std::isnan(worst)) return worst;
  }
  return worst;
}

}  // namespace vlp::test
