/// \file
/// LibTorch's tensors as views, and losses as functions of tensors that LibTorch differentiates.
///
///     vlp::TorchLoss<vlp::InfoNce<float>> loss({.label_smoothing = 0.1});
///     torch::Tensor value = loss(image, text, log_scale);        // in the order of InfoNce's inputs
///     value.backward();                                          // image.grad(), text.grad(), ...
///
/// Needs LibTorch, which no other header of vlp does; docs/libtorch.md says how to build with it. Tensors on
/// a CUDA device are vlp/cuda/interop/torch.cuh's.
#pragma once

#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/interop/detail/torch_arrays.hpp>
#include <vlp/losses/loss.hpp>

#include <concepts>
#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp {

/// A view of a tensor of `Rank` dimensions and elements of type T, const T to read alone:
/// `vlp::view<const float, 2>(tensor)`. A view of std::uint8_t takes tensors of bool, too. Throws
/// std::invalid_argument for a tensor that is not defined, not dense, on another kind of device, of other
/// elements or another rank, and where elements of the last dimension are not adjacent (`contiguous()` makes
/// them so). The view is valid as long as the tensor's memory is.
template <class T, std::size_t Rank, class Device = Cpu>
[[nodiscard]] View<T, Rank> view(const torch::Tensor& tensor) {
  detail::check_tensor("view", "the tensor", tensor, detail::TorchDevice<Device>::type);
  View<T, Rank> out;
  detail::point("view", "the tensor", tensor, out);
  return out;
}

/// Tensors by the names of a loss's inputs or outputs.
using NamedTensors = std::map<std::string, torch::Tensor, std::less<>>;

/// Numbers that the host holds, by the names of a loss's inputs.
using NamedNumbers = std::map<std::string, Index, std::less<>>;

namespace detail {

/// The constant part of a call: the loss, its numbers, and which of its inputs are given.
template <Loss L>
struct TorchCall : torch::CustomClassHolder {
  std::shared_ptr<const L> loss;
  typename L::Inputs numbers{};
  std::vector<bool> is_given;  ///< for each input

  /// Calls visit(place, name, input, gradient, if it has one) for each input that is given; `place` is its
  /// place among these.
  template <class Inputs, class Gradients, class Visit>
  void for_each_given(Inputs& inputs, Gradients& gradients, Visit&& visit) const {
    std::size_t at = 0, place = 0;
    L::for_each_input(inputs, gradients, [&](std::string_view name, auto& input, auto&... gradient) {
      if (is_given[at++]) visit(place++, name, input, gradient...);
    });
  }

  /// The inputs, pointed at tensors that are fit for it.
  [[nodiscard]] typename L::Inputs inputs(at::TensorList given) const {
    typename L::Inputs out = numbers;
    typename L::Gradients none{};
    for_each_given(out, none, [&](std::size_t place, std::string_view name, auto& input, auto&...) {
      point(L::name, name, given[place], input);
    });
    return out;
  }
};

/// Gives gradients on, and refuses to be differentiated.
struct TorchGradients : torch::autograd::Function<TorchGradients> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                const std::string& loss, at::TensorList gradients) {
    context->saved_data["loss"] = loss;
    return gradients.vec();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list&) {
    require(false, context->saved_data["loss"].toStringRef(),
            ": gradients of the loss cannot be differentiated again");
    return {};
  }
};

/// The passes of a loss, as LibTorch calls them. What forward saves for backward is a tensor among those that
/// LibTorch saves, so that it lives and moves with them.
template <Loss L>
struct TorchFunction : torch::autograd::Function<TorchFunction<L>> {
  using Accumulator = typename L::Accumulator;
  using Call = TorchCall<L>;
  using Context = torch::autograd::AutogradContext;
  using Device = TorchDevice<typename L::Device>;

  static torch::Tensor forward(Context* context, const c10::intrusive_ptr<Call>& call,
                               const typename L::Outputs& asked, at::TensorList given) {
    const typename L::Inputs inputs = call->inputs(given);
    const c10::Device where = given[0].device();
    const auto value = torch::empty({}, at::device(where).dtype(torch_type<Accumulator>));
    const auto bytes = static_cast<std::int64_t>(call->loss->saved_bytes(inputs));
    const auto saved = torch::empty({bytes}, at::device(where).dtype(c10::ScalarType::Byte));
    typename L::Outputs outputs = asked;
    outputs.loss = elements_of<Accumulator>(value);
    const std::span<std::byte> memory(elements_of<std::byte>(saved), static_cast<std::size_t>(bytes));
    Device::run(where,
                [&](typename L::Device& device) { call->loss->forward(device, inputs, outputs, memory); });

    torch::autograd::variable_list kept = given.vec();
    kept.push_back(saved);
    context->save_for_backward(std::move(kept));
    context->saved_data["call"] = c10::IValue::make_capsule(call);
    return value;
  }

  static torch::autograd::variable_list backward(Context* context,
                                                 const torch::autograd::variable_list& upstream) {
    const auto call = c10::static_intrusive_pointer_cast<Call>(context->saved_data["call"].toCapsule());
    const torch::autograd::variable_list kept = context->get_saved_variables();
    const at::TensorList given = at::TensorList(kept).slice(0, kept.size() - 1);
    const torch::Tensor& saved = kept.back();
    const typename L::Inputs inputs = call->inputs(given);
    typename L::Gradients gradients{};
    torch::autograd::variable_list out(given.size());
    typename L::Inputs none{};
    call->for_each_given(none, gradients,
                         [&](std::size_t place, [[maybe_unused]] std::string_view name, auto&, auto&... to) {
                           if (sizeof...(to) == 0 || !context->needs_input_grad(place)) return;
                           out[place] = torch::empty(given[place].sizes(), given[place].options());
                           (point(L::name, name, out[place], to), ...);
                         });
    const std::span<const std::byte> memory(elements_of<const std::byte>(saved),
                                            static_cast<std::size_t>(saved.numel()));
    Device::run(saved.device(), [&](typename L::Device& device) {
      call->loss->backward(device, inputs, memory, upstream_of(upstream[0]), gradients);
    });
    if constexpr (!L::Device::Memory::is_host) scale(out, upstream[0]);
    if (c10::GradMode::is_enabled()) refuse_another(out);
    out.insert(out.begin(), 2, torch::Tensor());  // forward's other arguments
    return out;
  }

 private:
  /// Where the host would have to wait for the device to read the upstream, gradients are computed for this
  /// one, and multiplied afterwards. It lifts small ones of Half, whose smallest number is 6e-8.
  static constexpr Accumulator lift = torch_type<typename L::Scalar> == c10::ScalarType::Half ? 256 : 1;

  static Accumulator upstream_of(const torch::Tensor& upstream) {
    if constexpr (L::Device::Memory::is_host)
      return upstream.item<Accumulator>();
    else
      return lift;
  }

  /// Multiplies in the type of the upstream: it may be beyond the largest number of the gradients'.
  static void scale(torch::autograd::variable_list& gradients, const torch::Tensor& upstream) {
    const c10::AutoGradMode no_graph(false);
    const torch::Tensor factor = lift == 1 ? upstream : upstream / lift;
    for (torch::Tensor& gradient : gradients) {
      if (!gradient.defined()) continue;
      if (gradient.scalar_type() == factor.scalar_type())
        gradient.mul_(factor);
      else
        gradient.copy_(gradient.to(factor.scalar_type()).mul_(factor));
    }
  }

  static void refuse_another(torch::autograd::variable_list& gradients) {
    torch::autograd::variable_list given;
    for (const torch::Tensor& gradient : gradients)
      if (gradient.defined()) given.push_back(gradient.detach().requires_grad_());
    auto refusing = TorchGradients::apply(std::string(L::name), at::TensorList(given));
    std::size_t at = 0;
    for (torch::Tensor& gradient : gradients)
      if (gradient.defined()) gradient = std::move(refusing[at++]);
  }
};

}  // namespace detail

/// A loss as a function of LibTorch's tensors. Its gradients are the loss's own, computed when LibTorch goes
/// back through it; what a forward saves is O(batch), see the loss. Constant, so threads may share it: each
/// computes on a vlp::Cpu of its own, with as many threads as at::get_num_threads() says, whose scratch
/// memory lives as long as the thread.
///
/// Inputs are tensors as vlp::view takes them, with these liberties: elements of a narrower floating type are
/// widened to the loss's, and a tensor whose last dimension is not adjacent is made contiguous; rows that are
/// strided or expanded are read where they lie. The gradient of an input has the type and the extents of what
/// was given. A tensor that is not defined is not given.
///
/// Throws std::invalid_argument with a sentence that begins with the loss's name, where inputs are given
/// wrongly, and where its gradients are differentiated again; LibTorch throws c10::Error, for an input
/// that was changed in place say.
template <Loss L>
class TorchLoss {
 public:
  using Options = typename L::Options;

  /// Throws std::invalid_argument when an option is out of range.
  explicit TorchLoss(const Options& options = {}) : loss_(std::make_shared<const L>(options)) {}

  /// The loss of inputs in the order of L::for_each_input; those after the last are not given. A single
  /// number of the type L::Accumulator.
  template <std::convertible_to<torch::Tensor>... Input>
  requires(sizeof...(Input) > 0) [[nodiscard]] torch::Tensor operator()(const Input&... inputs) const {
    std::vector<torch::Tensor> all{inputs...};
    std::size_t takes = 0;
    visit_inputs([&](std::string_view, auto&...) { ++takes; });
    require(all.size() <= takes, L::name, ": takes ", takes, " inputs, but ", all.size(), " are given");
    all.resize(takes);
    return compute(std::move(all), {}, {});
  }

  /// The loss of inputs by name, with numbers that the host holds (`word_capacity`, `own_text_step`).
  /// `outputs` are tensors of the caller's that the call fills, of L::Scalar or, for single numbers,
  /// L::Accumulator; nothing is differentiated through them.
  [[nodiscard]] torch::Tensor operator()(const NamedTensors& inputs, const NamedNumbers& numbers = {},
                                         const NamedTensors& outputs = {}) const {
    std::vector<torch::Tensor> all;
    take("input", inputs, visit_inputs, [&](const torch::Tensor* tensor, std::string_view, auto&...) {
      all.push_back(tensor == nullptr ? torch::Tensor() : *tensor);
    });
    return compute(std::move(all), numbers, outputs);
  }

  [[nodiscard]] const Options& options() const noexcept { return loss_->options(); }

 private:
  static constexpr c10::DeviceType device_type = detail::TorchDevice<typename L::Device>::type;

  static constexpr auto visit_inputs = [](auto&& visit) {
    typename L::Inputs inputs{};
    typename L::Gradients gradients{};
    L::for_each_input(inputs, gradients, visit);
  };

  /// Calls action(value, name, member...) for each member that `visit_members` visits, with what is given by
  /// its name, or null. All that is given must be of a member, which messages call a `what`.
  template <class Given, class VisitMembers, class Action>
  static void take(std::string_view what, const Given& given, VisitMembers&& visit_members, Action&& action) {
    std::size_t taken = 0;
    visit_members([&](std::string_view name, auto&... member) {
      const auto found = given.find(name);
      if (found != given.end()) ++taken;
      action(found == given.end() ? nullptr : &found->second, name, member...);
    });
    if (taken == given.size()) [[likely]]
      return;
    for (const auto& one : given) {
      bool is_known = false;
      visit_members([&](std::string_view name, auto&...) { is_known = is_known || name == one.first; });
      require(is_known, L::name, ": has no ", what, " ", one.first);
    }
  }

  /// Computes the loss of all inputs in order; those that are not given are undefined.
  torch::Tensor compute(std::vector<torch::Tensor> inputs, const NamedNumbers& numbers,
                        const NamedTensors& outputs) const {
    const auto call = c10::make_intrusive<detail::TorchCall<L>>();
    call->loss = loss_;
    take(
        "number", numbers, [&](auto&& visit) { L::for_each_host_number(call->numbers, visit); },
        [](const Index* given, std::string_view, Index& number) {
          if (given != nullptr) number = *given;
        });
    std::vector<torch::Tensor> given;
    visit_inputs([&](std::string_view name, auto& input, auto&...) {
      torch::Tensor& tensor = inputs[call->is_given.size()];
      call->is_given.push_back(tensor.defined());
      if (tensor.defined()) given.push_back(fit(name, tensor, given, input));
    });
    require(!given.empty(), L::name, ": no input is given");
    return detail::TorchFunction<L>::apply(call, read(outputs, given[0]), at::TensorList(given));
  }

  /// The tensor for an input: dense, where those before it are, widened, its last dimension adjacent. What is
  /// done to it for that, LibTorch differentiates.
  template <class Member>
  torch::Tensor fit(std::string_view name, const torch::Tensor& tensor,
                    const std::vector<torch::Tensor>& before, const Member& /*member*/) const {
    detail::check_tensor(L::name, name, tensor, device_type);
    check_place(name, tensor, before.empty() ? tensor : before[0]);
    constexpr c10::ScalarType type =
        detail::torch_type<decltype(detail::element_of(std::declval<const Member&>()))>;
    torch::Tensor out = tensor.resolve_neg();
    if (c10::isFloatingType(type) && c10::isFloatingType(out.scalar_type()) &&
        c10::promoteTypes(out.scalar_type(), type) == type)
      out = out.to(type);
    if (out.dim() > 0 && (needs_even_rows() || (out.size(-1) > 1 && out.stride(-1) != 1)))
      out = out.contiguous();
    return out;
  }

  /// Says whether rows must lie evenly; see MultiScaleInterface::Inputs.
  [[nodiscard]] bool needs_even_rows() const {
    if constexpr (requires { options().perturbed_as_negatives; })
      return options().perturbed_as_negatives;
    else
      return false;
  }

  /// Outputs, pointed at tensors where the input is.
  static typename L::Outputs read(const NamedTensors& given, const torch::Tensor& input) {
    typename L::Outputs out{};
    take(
        "output", given, [&](auto&& visit) { L::for_each_output(out, visit); },
        [&](const torch::Tensor* tensor, std::string_view name, auto& output) {
          if (tensor == nullptr) return;
          detail::check_tensor(L::name, name, *tensor, device_type);
          check_place(name, *tensor, input);
          require(!tensor->requires_grad(), L::name, ": ", name,
                  " is an output, so it must not require a gradient");
          detail::point(L::name, name, *tensor, output);
          if (!tensor->is_inference()) tensor->unsafeGetTensorImpl()->bump_version();  // since it changes
        });
    return out;
  }

  static void check_place(std::string_view name, const torch::Tensor& tensor, const torch::Tensor& other) {
    require(tensor.device() == other.device(), L::name, ": ", name, " is on ", tensor.device(),
            ", but inputs before it are on ", other.device());
  }

  std::shared_ptr<const L> loss_;
};

}  // namespace vlp
