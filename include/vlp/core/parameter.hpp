/// \file
/// What is learned: parameters, and the list of them that optimisers, checkpoints and gradient checks walk.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp {

/// Whether weight decay applies: to matrices of products and convolutions; not to biases, gains of norms,
/// position and type embeddings and scales.
enum class WeightDecay { no, yes };

/// An array that is learned, with its gradient (which backward passes add to) beside it.
template <class Scalar, class Device = Cpu>
struct Parameter {
  std::vector<Index> extents;
  WeightDecay weight_decay = WeightDecay::no;
  typename Device::template Buffer<Scalar> value, gradient;

  Parameter() = default;
  /// All zeros, of the given extents.
  explicit Parameter(std::vector<Index> shape, WeightDecay decay = WeightDecay::no)
      : extents(std::move(shape)), weight_decay(decay) {
    Index size = 1;
    for (Index extent : extents) size *= extent;
    std::fill_n(value.resize(size), size, Scalar(0));
    std::fill_n(gradient.resize(size), size, Scalar(0));
  }

  [[nodiscard]] Index size() const noexcept { return value.size(); }

  /// Each element in turn becomes what `next()` gives.
  template <class Next>
  void fill(Next&& next) {
    for (Index i = 0; i < size(); ++i) value[i] = static_cast<Scalar>(next());
  }

  /// The value and the gradient as matrices [extents[0], product of the other extents].
  [[nodiscard]] MatrixView<const Scalar> matrix() const { return {value.data(), matrix_extents()}; }
  [[nodiscard]] MatrixView<Scalar> gradient_matrix() const { return {gradient.data(), matrix_extents()}; }

 private:
  [[nodiscard]] std::array<Index, 2> matrix_extents() const {
    return {extents[0], extents[0] == 0 ? 0 : size() / extents[0]};
  }
};

/// A parameter and its dotted name within a model, e.g. "text.block0.attention.query_key_value.weight".
template <class Scalar, class Device = Cpu>
struct NamedParameter {
  std::string name;
  Parameter<Scalar, Device>* parameter;
};

/// Parameters in a fixed order. Points into the models it was made from, which must outlive it and stay where
/// they are.
template <class Scalar, class Device = Cpu>
using ParameterList = std::vector<NamedParameter<Scalar, Device>>;

/// Appends the parameters of `model` (anything with `for_each_parameter(prefix, visit)`), named under
/// `prefix`.
template <class Scalar, class Device, class Model>
void append_parameters(ParameterList<Scalar, Device>& list, std::string_view prefix, Model& model) {
  model.for_each_parameter(prefix, [&](const std::string& name, Parameter<Scalar, Device>& parameter) {
    list.push_back({name, &parameter});
  });
}

/// Sets every gradient of the list to zero.
template <class Scalar>
void zero_gradients(Cpu& device, const ParameterList<Scalar, Cpu>& list) {
  device.parallel_for(static_cast<Index>(list.size()), [&](Index i, int) {
    const auto& gradient = list[static_cast<std::size_t>(i)].parameter->gradient;
    std::fill_n(gradient.data(), gradient.size(), Scalar(0));
  });
}

/// "prefix.name", or "name" without a prefix.
[[nodiscard]] inline std::string join_names(std::string_view prefix, std::string_view name) {
  std::string out(prefix);
  if (!out.empty()) out += '.';
  return out += name;
}

}  // namespace vlp
