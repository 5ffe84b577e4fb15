/// \file
/// The frame that all losses share: their types, the checks before every pass, and the order of the passes.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/losses/detail/argument_checks.hpp>
#include <vlp/losses/detail/saved_arrays.hpp>

#include <cstddef>
#include <span>

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
concept ComputesBoth = requires(const Backend& backend, Device& device,
                                const typename Interface::Inputs& inputs,
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
///   - sizes(inputs), the extents that the saved state depends on, and size_names, their names.
///
/// `Backend` is made of options, has no other state, and computes on a device:
///   - lay_out(arrays, inputs) takes from SavedArrays what backward needs of forward and returns it, a State;
///     it reads extents and numbers that the host knows, never the elements of an input;
///   - forward(device, inputs, outputs, state) writes the outputs that are given, and all of the state;
///   - backward(device, inputs, state, upstream, gradients) reads the state;
///   - forward_backward(device, inputs, upstream, outputs, gradients), if doing both at once takes less work;
///   - check_values(inputs), if the host can read what the inputs hold and some of it may be wrong.
/// It is called with arguments that have been checked.
///
/// There are two forms of each pass. With `saved`, memory of the caller's, a pass is a pure function of its
/// arguments: the loss is const, any number of forwards may precede their backwards in any order, and threads
/// may share the loss as long as each has a device and memory of its own. Without it, the loss keeps the
/// memory, for one forward at a time.
template <class Interface, class DeviceType, class Backend>
class LossShell : public Interface {
 public:
  using Device = DeviceType;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

  /// Throws std::invalid_argument when an option is out of range.
  explicit LossShell(const Options& options = {}) : options_(checked(options)), backend_(options_) {}

  [[nodiscard]] const Options& options() const noexcept { return options_; }

  /// Bytes that a forward of these inputs saves for its backward: a function of the options, the inputs'
  /// extents and the numbers among them that the host holds. Views need no data. Throws
  /// std::invalid_argument for extents beyond all memory.
  [[nodiscard]] std::size_t saved_bytes(const Inputs& inputs) const {
    SavedArrays<typename Device::Memory> count;
    backend_.lay_out(count, inputs);
    return count.bytes();
  }

  /// Computes the outputs that are given and writes to `saved`, saved_bytes(inputs) bytes of the device's
  /// memory aligned to its Memory::alignment, what backward needs. Throws std::invalid_argument for arguments
  /// that do not fit together.
  void forward(Device& device, const Inputs& inputs, const Outputs& outputs,
               std::span<std::byte> saved) const {
    const typename CallOf<Device>::type call(device);
    check(inputs);
    check(inputs, outputs);
    backend_.forward(device, inputs, outputs, state(inputs, saved));
  }

  /// Writes upstream * dL/dinput to the gradients that are given, for the inputs whose forward wrote `saved`.
  /// Throws std::invalid_argument for arguments that do not fit together.
  void backward(Device& device, const Inputs& inputs, std::span<const std::byte> saved, Accumulator upstream,
                const Gradients& gradients) const {
    const typename CallOf<Device>::type call(device);
    check(inputs);
    Interface::check_gradients(inputs, gradients);
    // One layout serves both passes; backward does not write.
    const std::span<std::byte> memory(const_cast<std::byte*>(saved.data()), saved.size());
    backend_.backward(device, inputs, state(inputs, memory), upstream, gradients);
  }

  /// Does the work of forward and backward at once, for an upstream that is known beforehand. Saves nothing.
  void forward_backward(Device& device, const Inputs& inputs, Accumulator upstream, const Outputs& outputs,
                        const Gradients& gradients) const requires(ComputesBoth<Backend, Interface, Device>) {
    const typename CallOf<Device>::type call(device);
    check(inputs);
    check(inputs, outputs);
    Interface::check_gradients(inputs, gradients);
    backend_.forward_backward(device, inputs, upstream, outputs, gradients);
  }

  /// Computes the outputs that are given and keeps what backward needs. Throws std::invalid_argument for
  /// arguments that do not fit together; those change nothing.
  void forward(Device& device, const Inputs& inputs, const Outputs& outputs) {
    const typename CallOf<Device>::type call(device);
    check(inputs);
    check(inputs, outputs);
    sizes_ = {};  // there is nothing to go back through if something throws from here on
    saved_.resize(static_cast<Index>(saved_bytes(inputs)));
    backend_.forward(device, inputs, outputs, state(inputs, own()));
    sizes_ = Interface::sizes(inputs);
  }

  /// Writes upstream * dL/dinput for the inputs given to the last forward, to the gradients that are given.
  /// Throws std::invalid_argument for arguments that do not fit together, or not with that forward.
  void backward(Device& device, const Inputs& inputs, Accumulator upstream, const Gradients& gradients) {
    const typename CallOf<Device>::type call(device);
    check(inputs);
    check_forward(Interface::sizes(inputs));
    Interface::check_gradients(inputs, gradients);
    backend_.backward(device, inputs, state(inputs, own()), upstream, gradients);
  }

 protected:
  [[nodiscard]] const Backend& backend() const noexcept { return backend_; }

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

  [[nodiscard]] auto state(const Inputs& inputs, std::span<std::byte> memory) const {
    SavedArrays<typename Device::Memory> arrays(Interface::name, memory, saved_bytes(inputs));
    return backend_.lay_out(arrays, inputs);
  }

  [[nodiscard]] std::span<std::byte> own() const {
    return {saved_.data(), static_cast<std::size_t>(saved_.size())};
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
  typename Device::template Buffer<std::byte> saved_;
  Sizes sizes_{};  // of the last forward; all 0 without one
};

}  // namespace vlp::detail
