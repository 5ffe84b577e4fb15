/// \file
/// Layers on every device, and their gradients against central differences: written once for every layer.
#pragma once

#include "support/catch.hpp"
#include "support/guarded_device.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
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

/// Memory of a device as a vector on the host.
template <class T, class Device>
std::vector<T> downloaded(Device& device, const T* data, Index size) {
  std::vector<T> out(static_cast<std::size_t>(size));
  download(device, data, std::span<T>(out));
  return out;
}

/// An array in memory of a device.
template <class T, class Device>
class ArrayOn {
 public:
  ArrayOn(Device& device, const std::vector<T>& values) : device_(&device) { assign(values); }
  /// NaN everywhere.
  ArrayOn(Device& device, Index size)
      : ArrayOn(device, std::vector<T>(static_cast<std::size_t>(size), static_cast<T>(std::nan("")))) {}

  void assign(const std::vector<T>& values) {
    upload(*device_, std::span<const T>(values), memory_.resize(static_cast<Index>(values.size())));
  }
  [[nodiscard]] std::vector<T> host() const { return downloaded<T>(*device_, memory_.data(), size()); }

  [[nodiscard]] T* data() const { return memory_.data(); }
  [[nodiscard]] Index size() const { return memory_.size(); }
  template <class... Extents>
  [[nodiscard]] View<T, sizeof...(Extents)> view(Extents... extents) const {
    return {data(), {static_cast<Index>(extents)...}};
  }

 private:
  Device* device_;
  typename Device::template Buffer<T> memory_;
};

/// An input or output of a layer and the gradient by it, in memory of a device.
template <class Device>
struct Differentiated {
  ArrayOn<double, Device> value, gradient;
};

/// Takes sum(output * upstream) over a layer's outputs, with random upstream, as a function of its inputs and
/// parameters, and compares backward with central differences of it, in double.
template <class Device>
class LayerGradient {
 public:
  using Values = std::vector<double>;

  explicit LayerGradient(Device& device) : device_(device) {}

  /// An input of the layer; backward writes the gradient by it.
  Differentiated<Device>& input(std::string name, const Values& value) {
    auto& out = inputs_.emplace_back(
        Differentiated<Device>{{device_, value}, {device_, static_cast<Index>(value.size())}});
    add(std::move(name), out.value.data(), out.gradient.data(), out.value.size());
    return out;
  }
  /// An output of the layer; backward reads the gradient by it.
  Differentiated<Device>& output(Index size) {
    upstream_.push_back(normal_values(size, 1000 + static_cast<std::uint32_t>(outputs_.size())));
    return outputs_.emplace_back(Differentiated<Device>{{device_, size}, {device_, upstream_.back()}});
  }
  /// All parameters of the layer. They are moved off their starting values, where biases are all zero.
  template <class Layer>
  void parameters(Layer& layer) {
    parameters_.emplace(device_, layer);
    Random random(5);
    for (auto& [name, parameter] : parameters_->list()) {
      Values value = download_value(device_, *parameter);
      for (double& x : value) x += 0.1 * static_cast<double>(random.normal());
      upload_value(device_, *parameter, value);
      add(name, parameter->value().data(), parameter->gradient().data(), parameter->size());
    }
  }

  /// Compares up to `most` elements of each array. Returns all outputs and gradients of one pass.
  template <class Forward, class Backward>
  Values check(Forward&& forward, Backward&& backward, Index most = 30) {
    forward();
    if (parameters_) parameters_->zero_gradients(device_);
    backward();
    std::vector<Values> exact;
    for (const auto& c : checked_) exact.push_back(downloaded(device_, c.gradient, c.size));
    Values results;
    for (const auto& output : outputs_) append(results, output.value.host());
    for (const Values& gradient : exact) append(results, gradient);
    // A second pass adds to the gradients of parameters and overwrites those of inputs.
    backward();
    for (std::size_t i = 0; i < checked_.size(); ++i) {
      const double factor = i < inputs_.size() ? 1 : 2;
      INFO("second backward pass, " << checked_[i].name);
      const Values again = downloaded(device_, checked_[i].gradient, checked_[i].size);
      for (std::size_t j = 0; j < again.size(); ++j) {
        const double expected = factor * exact[i][j];
        if (!(std::abs(again[j] - expected) <= 1e-9 * (1 + std::abs(expected))))
          FAIL(again[j] << " at " << j << ", expected " << expected);
      }
    }
    for (std::size_t i = 0; i < checked_.size(); ++i) check_differences(checked_[i], exact[i], forward, most);
    return results;
  }

 private:
  struct Checked {
    std::string name;
    double* value;
    const double* gradient;
    Index size;
  };

  void add(std::string name, double* value, const double* gradient, Index size) {
    checked_.push_back({std::move(name), value, gradient, size});
  }
  static void append(Values& to, const Values& values) { to.insert(to.end(), values.begin(), values.end()); }

  template <class Forward>
  void check_differences(const Checked& c, const Values& exact, Forward& forward, Index most) {
    const double step = 5e-5;
    const bool all = c.size <= most;
    const Values before = downloaded(device_, static_cast<const double*>(c.value), c.size);
    for (Index k = 0; k < std::min(c.size, most); ++k) {
      const Index j = all ? k : static_cast<Index>(random_.below(static_cast<std::uint32_t>(c.size)));
      const double start = before[static_cast<std::size_t>(j)];
      const auto set = [&](double value) {
        upload(device_, std::span<const double>(&value, 1), c.value + j);
      };
      const auto loss_at = [&](double steps) {
        set(start + steps * step);
        return loss(forward);
      };
      // Four points: normalisation of small values is too curved for two.
      const double numeric = (8 * (loss_at(1) - loss_at(-1)) - (loss_at(2) - loss_at(-2))) / (12 * step);
      set(start);
      const double analytic = exact[static_cast<std::size_t>(j)];
      INFO("gradient by " << c.name << " at " << j);
      CHECK(std::abs(analytic - numeric) <= 2e-7 * (1 + std::abs(numeric)));
    }
  }

  template <class Forward>
  double loss(Forward& forward) const {
    forward();
    double sum = 0;
    for (std::size_t o = 0; o < outputs_.size(); ++o) {
      const Values value = outputs_[o].value.host();
      for (std::size_t i = 0; i < value.size(); ++i) sum += value[i] * upstream_[o][i];
    }
    return sum;
  }

  Device& device_;
  std::optional<Parameters<double, Device>> parameters_;
  std::vector<Checked> checked_;  // inputs first
  std::deque<Differentiated<Device>> inputs_, outputs_;
  std::vector<Values> upstream_;
  Random random_{3};
};

/// Tells whether two arrays are equal bit by bit.
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

/// Runs `body(device)` on the CPU and on a device whose memory is closed to the host; what it returns must be
/// the same on both. Returns that.
template <class Body>
auto on_every_device(Body&& body, int threads = 1) {
  Cpu cpu(threads);
  auto expected = body(cpu);
  Guarded guarded(threads);
  CHECK(same_bits(expected, body(guarded)));
  CHECK(!expected.empty());
  return expected;
}

/// The device type of a generic `auto& device`.
template <class Reference>
using DeviceOf = std::remove_reference_t<Reference>;

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
