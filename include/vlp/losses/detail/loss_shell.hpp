/// \file
/// The frame that all losses share: their types, the checks before every pass, and the order of the passes.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/losses/detail/argument_checks.hpp>

namespace vlp::detail {

/// Device::Call, which every call on a device begins with, or nothing on a device without it.
template <class Device>
struct CallOf {
  struct type {
    explicit type(Device&) {}
  };
};
template <class Device>
requires requires {
  typename Device::Call;
}
struct CallOf<Device> {
  using type = typename Device::Call;
};

/// A backend that can do forward and backward at once.
template <class Backend, class Interface, class Device>
concept ComputesBoth = requires(Backend& backend, Device& device, const typename Interface::Inputs& inputs,
                                typename Interface::Accumulator upstream,
                                const typename Interface::Outputs& outputs,
                                const typename Interface::Gradients& gradients) {
  backend.forward_backward(device, inputs, upstream, outputs, gradients);
};

/// A loss as its user calls it: makes every check that does not depend on the device, and leaves the
/// mathematics to a backend. The public class template of each loss derives from this and adds nothing.
///
/// `Interface` has the loss's name, the types of its arguments, and their checks:
///   - check_options(options), check_inputs(inputs, options) and check_gradients(inputs, gradients), and
///     check_outputs(inputs, outputs) if there are outputs with extents;
///   - sizes(inputs), the extents that the state saved by forward depends on, and size_names, their names.
///
/// `Backend` is made of options and computes on a device:
///   - forward(device, inputs, outputs) writes the outputs that are given and saves what backward needs;
///   - backward(device, inputs, upstream, gradients) reads what forward saved;
///   - forward_backward(device, inputs, upstream, outputs, gradients), if doing both at once takes less work;
///   - check_values(inputs), if the host can read what the inputs hold and some of it may be wrong.
/// It is called with arguments that have been checked, and its state is only used here, so that a form with
/// the state as an argument changes this class and the backends alone.
template <class Interface, class DeviceType, class Backend>
class LossShell : public Interface {
 public:
  using Device = DeviceType;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

  /// Throws std::invalid_argument when an option is out of range.
  explicit LossShell(const Options& options = {}) : options_(checked(options)), backend_(options_) {}

  [[nodiscard]] const Options& options() const noexcept { return options_; }

  /// Computes the outputs that are given and saves what backward needs. Throws std::invalid_argument for
  /// arguments that do not fit together.
  void forward(Device& device, const Inputs& inputs, const Outputs& outputs) {
    const typename CallOf<Device>::type call(device);
    check(inputs);
    check(inputs, outputs);
    sizes_ = {};  // there is nothing to go back through if the backend throws
    backend_.forward(device, inputs, outputs);
    sizes_ = Interface::sizes(inputs);
  }

  /// Writes upstream * dL/dinput for the inputs given to the last forward, to the gradients that are given.
  /// Throws std::invalid_argument for arguments that do not fit together, or not with that forward.
  void backward(Device& device, const Inputs& inputs, Accumulator upstream, const Gradients& gradients) {
    const typename CallOf<Device>::type call(device);
    check(inputs);
    check_forward(Interface::sizes(inputs));
    Interface::check_gradients(inputs, gradients);
    backend_.backward(device, inputs, upstream, gradients);
  }

  /// Does the work of forward and backward at once, for an upstream that is known beforehand. A backward may
  /// still follow.
  void forward_backward(Device& device, const Inputs& inputs, Accumulator upstream, const Outputs& outputs,
                        const Gradients& gradients) requires(ComputesBoth<Backend, Interface, Device>) {
    const typename CallOf<Device>::type call(device);
    check(inputs);
    check(inputs, outputs);
    Interface::check_gradients(inputs, gradients);
    sizes_ = {};
    backend_.forward_backward(device, inputs, upstream, outputs, gradients);
    sizes_ = Interface::sizes(inputs);
  }

 private:
  using Sizes = decltype(Interface::sizes(Inputs{}));

  static const Options& checked(const Options& options) {
    Interface::check_options(options);
    return options;
  }

  void check(const Inputs& inputs) const {
    Interface::check_inputs(inputs, options_);
    if constexpr (requires { backend_.check_values(inputs); }) backend_.check_values(inputs);
  }

  static void check(const Inputs& inputs, const Outputs& outputs) {
    if constexpr (requires { Interface::check_outputs(inputs, outputs); })
      Interface::check_outputs(inputs, outputs);
  }

  /// Backward has a forward before it, of the same sizes.
  void check_forward(const Sizes& given) const {
    if (given == sizes_) [[likely]]
      return;
    require(sizes_ != Sizes{}, Interface::name, ": backward is called without a forward before it");
    require(false, Interface::name, ": backward is given ", extents_text(given), " but forward had ",
            extents_text(sizes_), " (", Interface::size_names, ")");
  }

  Options options_;
  Backend backend_;
  Sizes sizes_{};  // of the last forward; all 0 without one
};

}  // namespace vlp::detail
