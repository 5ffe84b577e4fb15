/// \file
/// The Loss concept, lists of losses, and the option that several losses share.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/enum_names.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace vlp {

/// How pairs that share a group id (equal reports) count for each other in a contrastive batch.
enum class DuplicatePolicy {
  negatives,  ///< ids are ignored: every other pair is a negative
  positives,  ///< the target is uniform over the row's group
  ignore      ///< same-group columns other than the pair itself leave the denominator
};

template <>
inline constexpr std::array<std::string_view, 3> enum_names<DuplicatePolicy>{"negatives", "positives",
                                                                             "ignore"};

namespace detail {
/// A visitor that accepts anything, to state the concept with.
struct AnyVisitor {
  template <class... Arguments>
  void operator()(std::string_view, Arguments&&...) const {}
};
}  // namespace detail

/// One shape for every loss; the gradient checker, the golden-vector tests, the benchmarks and the framework
/// adapters are written once over it.
///
/// - `Inputs` holds views of what the loss reads, `Outputs` where it writes, `Gradients` one member, of the
///   same name, for each differentiable input. An empty view or null pointer in `Outputs` or `Gradients`
///   skips that result. Results must overlap neither the inputs nor each other. All of it, single numbers
///   included, is in the device's memory, except what for_each_host_number visits.
/// - `forward` writes to `saved`, memory of the caller's, what `backward` with the same inputs needs; there
///   are `saved_bytes(inputs)` of it. Both are pure functions of their arguments, and so is the loss
///   constant. `backward` writes upstream * dL/dinput. Gradients are overwritten unless `Gradients::into`
///   says to add. The forms without `saved` keep that memory themselves, for one forward at a time.
/// - These call `visit` with the name of each thing, and the thing itself:
///   `for_each_input(inputs, gradients, visit)` visits (name, input, gradient) for each differentiable input
///   and (name, input) for each other; `for_each_host_number(inputs, visit)` the numbers among the inputs
///   that the host holds; `for_each_output(outputs, visit)` each output except the loss; and
///   `for_each_option(options, visit)` each option. The names are those of the golden vectors.
template <class L>
concept Loss = requires(L loss, const L& constant, typename L::Device& device,
                        const typename L::Inputs& inputs, const typename L::Outputs& outputs,
                        const typename L::Gradients& gradients, typename L::Inputs& own_inputs,
                        typename L::Outputs& own_outputs, typename L::Gradients& own_gradients,
                        typename L::Options& options, typename L::Accumulator upstream,
                        std::span<std::byte> saved, std::span<const std::byte> saved_before) {
  requires std::constructible_from<L, typename L::Options>;
  requires std::same_as<typename L::Accumulator, AccumulatorOf<typename L::Scalar>>;
  { L::name } -> std::convertible_to<std::string_view>;
  { outputs.loss } -> std::convertible_to<typename L::Accumulator*>;
  { gradients.into } -> std::convertible_to<Into>;
  { constant.saved_bytes(inputs) } -> std::same_as<std::size_t>;
  constant.forward(device, inputs, outputs, saved);
  constant.backward(device, inputs, saved_before, upstream, gradients);
  loss.forward(device, inputs, outputs);
  loss.backward(device, inputs, upstream, gradients);
  L::for_each_input(own_inputs, own_gradients, detail::AnyVisitor{});
  L::for_each_host_number(own_inputs, detail::AnyVisitor{});
  L::for_each_output(own_outputs, detail::AnyVisitor{});
  L::for_each_option(options, detail::AnyVisitor{});
};

/// Several losses, as types.
template <class... L>
struct LossList {
  static_assert((Loss<L> && ...));
  static constexpr std::size_t size = sizeof...(L);

  /// Calls visit(std::type_identity<L>{}) for each of them, in order.
  template <class Visit>
  static void for_each(Visit&& visit) {
    (visit(std::type_identity<L>{}), ...);
  }
};

namespace detail {
/// Specialised where the losses are: losses/all.hpp for the CPU, cuda/losses/all.cuh for CUDA devices.
template <class Scalar, class Device>
struct AllLosses;
}  // namespace detail

/// Every loss that there is on a device, of inputs of type `Scalar`, as a LossList. Code that is written once
/// over the Loss concept takes them from here.
template <class Scalar, class Device = Cpu>
using AllLosses = typename detail::AllLosses<Scalar, Device>::type;

}  // namespace vlp
