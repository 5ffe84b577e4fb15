/// \file
/// The learned scale of a contrast.
#pragma once

#include <vlp/core/device.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/ops/operations.hpp>
#include <vlp/optim/clamp_above.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

namespace vlp::tasks::detail {

/// The scale exp(s) of the scores of a contrast, learned as s. It starts at 1 / temperature and is kept at or
/// below 100, as in CLIP (Radford et al., 2021).
template <class Scalar, class Device>
class LearnedScale {
 public:
  explicit LearnedScale(double temperature)
      : log_({1}, WeightDecay::no,
             std::min(std::log(Scalar(1) / static_cast<Scalar>(temperature)), largest_log())) {}

  template <class Visit>
  void for_each_parameter(const std::string& name, Visit&& visit) {
    visit(name, log_);
  }

  /// s in device memory.
  [[nodiscard]] const Scalar* log() const { return log_.value().data(); }
  /// s on the host.
  [[nodiscard]] double read(Device& device) const {
    return static_cast<double>(download_value(device, log_)[0]);
  }
  /// The gradient by s in device memory.
  [[nodiscard]] Scalar* gradient() const { return log_.gradient().data(); }
  /// Keeps s in its bounds; to be called after each update.
  void constrain(Device& device) { optim::clamp_above(device, log_, largest_log()); }
  /// Adds a gradient in device memory to that of s.
  void add_gradient(Device& device, const Scalar* gradient) {
    add_scaled<Scalar>(device, 1, MatrixView<const Scalar>(gradient, {1, 1}), log_.gradient_matrix());
  }

 private:
  static Scalar largest_log() { return std::log(Scalar(100)); }

  Parameter<Scalar, Device> log_;
};

}  // namespace vlp::tasks::detail
