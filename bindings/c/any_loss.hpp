/// \file
/// A loss behind one type: its passes on named arrays.
#pragma once

#include "arrays.hpp"
#include "options.hpp"
#include "vlp_ops.h"

#include <vlp/core/errors.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/loss.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace vlp::bindings {

/// Several types.
template <class... T>
struct TypeList {};

/// A loss of some type on some kind of device.
template <class Device>
class AnyLoss {
 public:
  AnyLoss() = default;
  AnyLoss(const AnyLoss&) = delete;
  AnyLoss& operator=(const AnyLoss&) = delete;
  virtual ~AnyLoss() = default;

  [[nodiscard]] virtual std::size_t saved_bytes(const VlpInputs& inputs) const = 0;
  virtual void forward(Device& device, const VlpInputs& inputs, const VlpArrays& outputs,
                       const VlpSaved& saved) const = 0;
  virtual void backward(Device& device, const VlpInputs& inputs, const VlpSaved& saved, double upstream,
                        const VlpGradients& gradients) const = 0;
  virtual void forward_backward(Device& device, const VlpInputs& inputs, double upstream,
                                const VlpArrays& outputs, const VlpGradients& gradients) const = 0;

  [[nodiscard]] virtual std::size_t block_saved_bytes(const VlpInputs& inputs) const = 0;
  virtual void accumulate(Device& device, const VlpInputs& inputs, const VlpArrays& outputs,
                          const VlpArrays& sums, std::int32_t add, const VlpSaved& saved) const = 0;
  virtual void merge(Device& device, const VlpArrays& from, const VlpArrays& to) const = 0;
  virtual void finish(Device& device, std::span<const VlpNumber> block, const VlpArrays& sums,
                      const VlpArrays& outputs) const = 0;
  virtual void differentiate(Device& device, const VlpInputs& inputs, const VlpArrays& sums,
                             const VlpSaved& saved, double upstream, const VlpGradients& gradients) const = 0;
};

/// Says whether a loss does forward and backward at once.
template <Loss L>
inline constexpr bool has_forward_backward = requires(const L& loss, typename L::Device& device,
                                                      const typename L::Inputs& inputs,
                                                      typename L::Accumulator upstream,
                                                      const typename L::Outputs& outputs,
                                                      const typename L::Gradients& gradients) {
  loss.forward_backward(device, inputs, upstream, outputs, gradients);
};

/// Says whether a loss has the steps over blocks of a batch.
template <Loss L>
inline constexpr bool has_blocks = requires(const L& loss, const typename L::Inputs& inputs) {
  loss.block_saved_bytes(inputs);
};

/// Options from texts by name; the others keep their defaults.
template <Loss L>
typename L::Options read_options(std::span<const VlpOption> given) {
  typename L::Options out;
  for (const VlpOption& one : given) {
    bool is_known = false;
    L::for_each_option(out, [&](std::string_view name, auto& option) {
      if (name != one.name) return;
      is_known = true;
      try {
        read_option(one.value, option);
      } catch (const std::invalid_argument& error) {
        require(false, L::name, ": ", name, " ", error.what());
      }
    });
    require(is_known, L::name, ": has no option ", one.name);
  }
  return out;
}

template <Loss L>
class OneLoss final : public AnyLoss<typename L::Device> {
  using Accumulator = typename L::Accumulator;
  using Device = typename L::Device;
  using Gradients = typename L::Gradients;
  using Inputs = typename L::Inputs;
  using Outputs = typename L::Outputs;

 public:
  explicit OneLoss(std::span<const VlpOption> options) : loss_(read_options<L>(options)) {}

  [[nodiscard]] std::size_t saved_bytes(const VlpInputs& inputs) const override {
    const Inputs in = read_extents(inputs);
    L::check_inputs(in, loss_.options());
    return loss_.saved_bytes(in);
  }

  void forward(Device& device, const VlpInputs& inputs, const VlpArrays& outputs,
               const VlpSaved& saved) const override {
    loss_.forward(device, read(inputs), read(outputs), memory(saved));
  }

  void backward(Device& device, const VlpInputs& inputs, const VlpSaved& saved, double upstream,
                const VlpGradients& gradients) const override {
    loss_.backward(device, read(inputs), std::span<const std::byte>(memory(saved)),
                   static_cast<Accumulator>(upstream), read(gradients));
  }

  void forward_backward([[maybe_unused]] Device& device, [[maybe_unused]] const VlpInputs& inputs,
                        [[maybe_unused]] double upstream, [[maybe_unused]] const VlpArrays& outputs,
                        [[maybe_unused]] const VlpGradients& gradients) const override {
    if constexpr (has_forward_backward<L>)
      loss_.forward_backward(device, read(inputs), static_cast<Accumulator>(upstream), read(outputs),
                             read(gradients));
    else
      require(false, L::name, ": has no forward_backward on this device");
  }

  [[nodiscard]] std::size_t block_saved_bytes(const VlpInputs& inputs) const override {
    std::size_t bytes = 0;
    with_blocks([&]<class Of>(const Of& loss) {
      const Inputs in = read_extents(inputs);
      Of::check_inputs(in, loss.options());
      Of::check_block_options(loss.options());
      bytes = loss.block_saved_bytes(in);
    });
    return bytes;
  }

  void accumulate(Device& device, const VlpInputs& inputs, const VlpArrays& outputs, const VlpArrays& sums,
                  std::int32_t add, const VlpSaved& saved) const override {
    with_blocks([&](const auto& loss) {
      loss.accumulate(device, read(inputs), read(outputs), read_sums(sums), read_into(add), memory(saved));
    });
  }

  void merge(Device& device, const VlpArrays& from, const VlpArrays& to) const override {
    with_blocks([&](const auto& loss) { loss.merge(device, read_sums(from), read_sums(to)); });
  }

  void finish(Device& device, std::span<const VlpNumber> block, const VlpArrays& sums,
              const VlpArrays& outputs) const override {
    with_blocks([&]<class Of>(const Of& loss) {
      typename Of::Inputs inputs{};
      read_numbers(block, inputs);
      Accumulator* value = nullptr;
      point_all(L::name, "finished output", outputs, [&](auto&& action) { action("loss", value); });
      loss.finish(device, inputs.block, read_sums(sums), value);
    });
  }

  void differentiate(Device& device, const VlpInputs& inputs, const VlpArrays& sums, const VlpSaved& saved,
                     double upstream, const VlpGradients& gradients) const override {
    with_blocks([&](const auto& loss) {
      loss.differentiate(device, read(inputs), read_sums(sums), std::span<const std::byte>(memory(saved)),
                         static_cast<Accumulator>(upstream), read(gradients));
    });
  }

 private:
  /// Does action(loss) where the loss has the steps over blocks.
  template <class Action>
  void with_blocks([[maybe_unused]] Action&& action) const {
    if constexpr (has_blocks<L>)
      action(loss_);
    else
      require(false, L::name, ": has no steps over blocks");
  }

  static std::span<std::byte> memory(const VlpSaved& saved) {
    return {static_cast<std::byte*>(saved.data), static_cast<std::size_t>(saved.bytes)};
  }

  static Inputs read(const VlpInputs& given) {
    Inputs out{};
    Gradients none{};
    point_all(L::name, "input", given.arrays, [&](auto&& action) {
      L::for_each_input(out, none,
                        [&](std::string_view name, auto& input, auto&...) { action(name, input); });
    });
    read_numbers({given.numbers, static_cast<std::size_t>(given.number_count)}, out);
    return out;
  }

  /// Inputs of which nothing is read but extents. Those without data point somewhere, since an input that is
  /// given is one that has data.
  static Inputs read_extents(const VlpInputs& given) {
    alignas(std::max_align_t) static std::byte somewhere{};
    const std::span<const VlpArray> arrays(given.arrays.arrays, static_cast<std::size_t>(given.arrays.count));
    std::vector<VlpArray> out(arrays.begin(), arrays.end());
    for (VlpArray& array : out)
      if (array.data == nullptr) array.data = &somewhere;
    return read({{out.data(), given.arrays.count}, given.numbers, given.number_count});
  }

  static void read_numbers(std::span<const VlpNumber> given, Inputs& out) {
    for (const VlpNumber& number : given) {
      bool is_known = false;
      L::for_each_host_number(out, [&](std::string_view name, Index& value) {
        if (name != number.name) return;
        value = number.value;
        is_known = true;
      });
      require(is_known, L::name, ": has no number ", number.name);
    }
  }

  static Outputs read(const VlpArrays& given) {
    Outputs out{};
    point_all(L::name, "output", given, [&](auto&& action) {
      action("loss", out.loss);
      L::for_each_output(out, action);
    });
    return out;
  }

  static Gradients read(const VlpGradients& given) {
    Inputs none{};
    Gradients out{};
    out.into = read_into(given.add);
    point_all(L::name, "gradient", given.arrays, [&](auto&& action) {
      L::for_each_input(none, out, [&]([[maybe_unused]] std::string_view name, auto&, auto&... gradient) {
        (action(name, gradient), ...);
      });
    });
    return out;
  }

  static Into read_into(std::int32_t add) {
    require(add == 0 || add == 1, L::name, ": add must be 0 or 1, but is ", add);
    return add == 1 ? Into::add : Into::overwrite;
  }

  static ContrastSums<Accumulator> read_sums(const VlpArrays& given) {
    ContrastSums<Accumulator> out;
    point_all(L::name, "sum", given, [&](auto&& action) {
      action("row_max", out.rows.max);
      action("row_sum", out.rows.sum);
      action("column_max", out.columns.max);
      action("column_sum", out.columns.sum);
      action("target_score", out.target_score);
    });
    return out;
  }

  L loss_;
};

}  // namespace vlp::bindings
