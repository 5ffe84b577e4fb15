/// \file
/// One call of a loss for tests: owns every array that the loss's views point to. Written over the Loss
/// concept.
#pragma once

#include "support/device.hpp"
#include "support/messages.hpp"

#include <vlp/core/random.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace vlp::test {

/// The values of an array of any type, row-major, without gaps.
struct Array {
  std::vector<Index> shape;  ///< empty for a single number
  std::vector<double> values;
};

/// A loss's inputs or gradients by name.
using Arrays = std::map<std::string, Array>;

inline Array number(double value) {
  return {{}, {value}};
}

/// `scale` times standard normal values.
inline Array normal(Random& random, std::vector<Index> shape, double scale = 1) {
  Index size = 1;
  for (Index extent : shape) size *= extent;
  Array out{std::move(shape), std::vector<double>(static_cast<std::size_t>(size))};
  for (double& v : out.values) v = scale * random.normal();
  return out;
}

/// Largest difference of two arrays, relative to the largest magnitude in `want` (or to `floor` if that is
/// larger); infinite when shapes differ or anything is not finite.
inline double relative_error(const Array& got, const Array& want, double floor = 1e-6) {
  if (got.shape != want.shape || got.values.size() != want.values.size())
    return std::numeric_limits<double>::infinity();
  double error = 0, scale = floor;
  for (std::size_t i = 0; i < want.values.size(); ++i) {
    const double difference = std::abs(got.values[i] - want.values[i]);
    if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
    error = std::max(error, difference);
    scale = std::max(scale, std::abs(want.values[i]));
  }
  return error / scale;
}

/// The error of a loss for its arguments, forward and then backward; "no error" if it takes them.
template <Loss L>
std::string refusal_of(const typename L::Inputs& inputs, const typename L::Gradients& gradients = {},
                       const typename L::Outputs& outputs = {}) {
  return message_of<std::invalid_argument>([&] {
    auto device = make_device<typename L::Device>();
    L loss;
    loss.forward(device, inputs, outputs);
    loss.backward(device, inputs, 1, gradients);
    wait_for(device);
  });
}

/// Elements between the rows of a matrix, and between the matrices of a batch, that are padding.
struct Padding {
  Index row = 0;
  Index matrix = 0;
};

/// A loss's inputs, numbers that the host holds among them, filled from Arrays by name (those not there stay
/// as they are), and gradients for all of them.
/// Padding is filled with NaN, and so are the gradients, so that a stray read or a missing write shows. All
/// of it is in the device's memory, and on the host to be looked at.
template <Loss L>
class LossCase {
 public:
  using Scalar = typename L::Scalar;
  using Accumulator = typename L::Accumulator;
  using Device = typename L::Device;

  explicit LossCase(const Arrays& arrays, Padding padding = {}) : padding_(padding) {
    L::for_each_input(inputs, gradients, [&](std::string_view name, auto& input, auto&... gradient) {
      const auto found = arrays.find(std::string(name));
      if (found == arrays.end()) return;
      bind(found->first, found->second, input);
      (bind_gradient(found->first, found->second, gradient), ...);
    });
    L::for_each_host_number(inputs, [&](std::string_view name, auto& number) {
      const auto found = arrays.find(std::string(name));
      if (found != arrays.end())
        number = static_cast<std::remove_reference_t<decltype(number)>>(found->second.values.at(0));
    });
  }
  LossCase(const LossCase&) = delete;
  LossCase& operator=(const LossCase&) = delete;

  typename L::Inputs inputs{};
  typename L::Gradients gradients{};

  Accumulator forward(L& loss, Device& device) {
    const auto upload = [](auto& arrays) {
      for (auto& [name, array] : arrays) array.upload();
    };
    upload(values_);
    upload(numbers_);
    value_.host() = {not_a_result<Accumulator>()};
    value_.upload();
    typename L::Outputs outputs{};
    outputs.loss = value_.data();
    loss.forward(device, inputs, outputs);
    wait_for(device);
    value_.download();
    return value_.host()[0];
  }

  /// Forward and backward on a new device and a new loss.
  Accumulator run(const typename L::Options& options, int variation = 1, double upstream = 1) {
    auto device = make_device<Device>(variation);
    L loss(options);
    const Accumulator value = forward(loss, device);
    loss.backward(device, inputs, static_cast<Accumulator>(upstream), gradients);
    wait_for(device);
    return value;
  }

  /// The gradients as they stand now; those skipped are not among them.
  [[nodiscard]] Arrays gradient_values() {
    Arrays out;
    L::for_each_input(inputs, gradients,
                      [&]([[maybe_unused]] std::string_view name, auto&, auto&... gradient) {
                        (read(std::string(name), gradient, out), ...);
                      });
    return out;
  }

  /// Storage of an input on the host, without padding: its elements in order. forward reads what stands
  /// there.
  std::vector<Scalar>& values(const std::string& name) { return values_.at(name).host(); }
  std::vector<Accumulator>& numbers(const std::string& name) { return numbers_.at(name).host(); }

  /// Sets all of a gradient, for what is to be added to it.
  void fill_gradient(const std::string& name, double value) {
    const auto fill = [&](auto& arrays, auto number) {
      const auto found = arrays.find(name);
      if (found == arrays.end()) return;
      std::fill(found->second.host().begin(), found->second.host().end(), number);
      found->second.upload();
    };
    fill(gradient_values_, from_double<Scalar>(value));
    fill(gradient_numbers_, static_cast<Accumulator>(value));
  }

  /// True when every element between rows and matrices of the gradients still is NaN.
  [[nodiscard]] bool padding_untouched() {
    bool untouched = true;
    L::for_each_input(inputs, gradients,
                      [&]([[maybe_unused]] std::string_view name, auto&, auto&... gradient) {
                        ((untouched = untouched && padding_untouched(std::string(name), gradient)), ...);
                      });
    return untouched;
  }

 private:
  template <class T>
  using Memory = std::map<std::string, DeviceArray<T, Device>>;

  /// Offset of the k-th element of a view in row-major order.
  template <class T, std::size_t Rank>
  static Index offset(const View<T, Rank>& view, Index k) {
    Index out = 0;
    for (std::size_t d = Rank; d-- > 0; k /= view.extent(d)) out += k % view.extent(d) * view.stride(d);
    return out;
  }

  /// A view of the extents and this case's strides, onto memory that is as large but not yet uploaded.
  template <class T, std::size_t Rank>
  View<T, Rank> make_view(const std::vector<Index>& shape, DeviceArray<T, Device>& memory) const {
    require(shape.size() == Rank, "test array of rank ", shape.size(), " for a view of rank ", Rank);
    std::array<Index, Rank> extents{}, strides{};
    Index stride = 1;
    for (std::size_t d = Rank; d-- > 0;) {
      extents[d] = shape[d];
      strides[d] = stride;
      stride *= shape[d];
      if (d + 1 == Rank && Rank >= 2) stride += padding_.row;
      if (d + 2 == Rank && Rank >= 3) stride += padding_.matrix;
    }
    memory.host().assign(static_cast<std::size_t>(std::max<Index>(stride, 1)), not_a_result<T>());
    memory.upload();
    return {memory.data(), extents, strides};
  }

  template <class T, std::size_t Rank>
  void bind(const std::string& name, const Array& array, View<const T, Rank>& view) {
    auto& memory = [&]() -> DeviceArray<T, Device>& {
      if constexpr (std::is_same_v<T, Scalar>)
        return values_[name];
      else if constexpr (std::is_same_v<T, std::int64_t>)
        return integers_[name];
      else
        return bytes_[name];
    }();
    const View<T, Rank> own = make_view<T, Rank>(array.shape, memory);
    for (Index k = 0; k < own.size(); ++k)
      memory.host()[static_cast<std::size_t>(offset(own, k))] =
          from_double<T>(array.values[static_cast<std::size_t>(k)]);
    memory.upload();
    view = own;
  }

  void bind(const std::string& name, const Array& array, std::span<const std::int64_t>& view) {
    auto& memory = integers_[name];
    for (double v : array.values) memory.host().push_back(static_cast<std::int64_t>(v));
    memory.upload();
    view = memory.span();
  }

  void bind(const std::string& name, const Array& array, const Accumulator*& pointer) {
    auto& memory = numbers_[name];
    memory.host() = {static_cast<Accumulator>(array.values.at(0))};
    memory.upload();
    pointer = memory.data();
  }

  template <std::size_t Rank>
  void bind_gradient(const std::string& name, const Array& array, View<Scalar, Rank>& gradient) {
    gradient = make_view<Scalar, Rank>(array.shape, gradient_values_[name]);
  }

  void bind_gradient(const std::string& name, const Array&, Accumulator*& gradient) {
    auto& memory = gradient_numbers_[name];
    memory.host() = {not_a_result<Accumulator>()};
    memory.upload();
    gradient = memory.data();
  }

  template <std::size_t Rank>
  bool padding_untouched(const std::string& name, const View<Scalar, Rank>& gradient) {
    if (!gradient.given()) return true;
    auto& memory = gradient_values_.at(name);
    memory.download();
    std::vector<bool> owned(memory.host().size());
    for (Index k = 0; k < gradient.size(); ++k) owned[static_cast<std::size_t>(offset(gradient, k))] = true;
    for (std::size_t k = 0; k < owned.size(); ++k)
      if (!owned[k] && !std::isnan(to_double(memory.host()[k]))) return false;
    return true;
  }
  bool padding_untouched(const std::string&, const Accumulator*) const { return true; }

  template <std::size_t Rank>
  void read(const std::string& name, const View<Scalar, Rank>& gradient, Arrays& out) {
    if (!gradient.given()) return;
    const Scalar* const values = on_host(gradient_values_, gradient.data());
    Array& array = out[name];
    array.shape.assign(gradient.extents().begin(), gradient.extents().end());
    for (Index k = 0; k < gradient.size(); ++k)
      array.values.push_back(to_double(values[offset(gradient, k)]));
  }

  void read(const std::string& name, const Accumulator* gradient, Arrays& out) {
    if (gradient != nullptr) out[name] = number(to_double(*on_host(gradient_numbers_, gradient)));
  }

  /// Where the host finds what the device has at `data`: in a copy, unless it is a test's own memory.
  template <class T>
  static const T* on_host(Memory<T>& memory, const T* data) {
    for (auto& [name, array] : memory) {
      if (array.data() != data) continue;
      array.download();
      return array.host().data();
    }
    return data;
  }

  Padding padding_;
  Memory<Scalar> values_, gradient_values_;
  Memory<Accumulator> numbers_, gradient_numbers_;
  Memory<std::int64_t> integers_;
  Memory<std::uint8_t> bytes_;
  DeviceArray<Accumulator, Device> value_;  // of the loss
};

}  // namespace vlp::test
