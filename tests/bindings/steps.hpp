/// \file
/// The steps of a loss over blocks of a batch, in C++ and through the C interface, under the same names.
#pragma once

#include "bindings/c/vlp_ops.h"
#include "calls.hpp"
#include "support/catch.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/loss.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace vlp::test {

/// The sums that are given, under the names that the C interface has for them.
template <class Accumulator>
CArrays c_sums(const ContrastSums<Accumulator>& sums) {
  CArrays out;
  out.add("row_max", sums.rows.max);
  out.add("row_sum", sums.rows.sum);
  out.add("column_max", sums.columns.max);
  out.add("column_sum", sums.columns.sum);
  out.add("target_score", sums.target_score);
  return out;
}

/// A loss in C++.
template <Loss L>
class CppSteps {
  using Accumulator = typename L::Accumulator;
  using Inputs = typename L::Inputs;
  using Outputs = typename L::Outputs;
  using Gradients = typename L::Gradients;
  using Sums = ContrastSums<Accumulator>;

 public:
  explicit CppSteps(const typename L::Options& options, const OptionTexts&) : loss_(options) {}

  std::size_t saved_bytes(const Inputs& inputs) { return loss_.saved_bytes(inputs); }
  void forward(const Inputs& inputs, const Outputs& outputs, std::span<std::byte> saved) {
    loss_.forward(device_, inputs, outputs, saved);
  }
  void backward(const Inputs& inputs, std::span<std::byte> saved, double upstream,
                const Gradients& gradients) {
    loss_.backward(device_, inputs, saved, static_cast<Accumulator>(upstream), gradients);
  }
  void forward_backward(const Inputs& inputs, double upstream, const Outputs& outputs,
                        const Gradients& gradients) {
    loss_.forward_backward(device_, inputs, static_cast<Accumulator>(upstream), outputs, gradients);
  }

  std::size_t block_saved_bytes(const Inputs& inputs) { return loss_.block_saved_bytes(inputs); }
  void accumulate(const Inputs& inputs, const Outputs& outputs, const Sums& sums, Into into,
                  std::span<std::byte> saved) {
    loss_.accumulate(device_, inputs, outputs, sums, into, saved);
  }
  void merge(const Sums& from, const Sums& to) { L::merge(device_, from, to); }
  void finish(const PairBlock& block, const Sums& sums, Accumulator& value) {
    loss_.finish(device_, block, sums, &value);
  }
  void differentiate(const Inputs& inputs, const Sums& sums, std::span<std::byte> saved, double upstream,
                     const Gradients& gradients) {
    loss_.differentiate(device_, inputs, sums, saved, static_cast<Accumulator>(upstream), gradients);
  }

 private:
  L loss_;
  Cpu device_{1};
};

/// The same loss through C.
template <Loss L>
class CSteps {
  using Accumulator = typename L::Accumulator;
  using Inputs = typename L::Inputs;
  using Outputs = typename L::Outputs;
  using Gradients = typename L::Gradients;
  using Sums = ContrastSums<Accumulator>;

 public:
  explicit CSteps(const typename L::Options&, const OptionTexts& options) : loss_(make_c_loss<L>(options)) {}

  std::size_t saved_bytes(const Inputs& inputs) {
    std::int64_t bytes = -1;
    with_inputs(inputs, [&](auto in) { return vlp_loss_saved_bytes(loss_.get(), in, &bytes); });
    return static_cast<std::size_t>(bytes);
  }
  void forward(const Inputs& inputs, const Outputs& outputs, std::span<std::byte> saved) {
    const VlpSaved memory = memory_of(saved);
    with_inputs(inputs, [&](auto in) {
      return vlp_loss_forward(loss_.get(), device_.get(), in, Given(outputs_of(outputs)), &memory);
    });
  }
  void backward(const Inputs& inputs, std::span<std::byte> saved, double upstream,
                const Gradients& gradients) {
    const VlpSaved memory = memory_of(saved);
    with_gradients(inputs, gradients, [&](auto in, auto to) {
      return vlp_loss_backward(loss_.get(), device_.get(), in, &memory, upstream, to);
    });
  }
  void forward_backward(const Inputs& inputs, double upstream, const Outputs& outputs,
                        const Gradients& gradients) {
    with_gradients(inputs, gradients, [&](auto in, auto to) {
      return vlp_loss_forward_backward(loss_.get(), device_.get(), in, upstream, Given(outputs_of(outputs)),
                                       to);
    });
  }

  std::size_t block_saved_bytes(const Inputs& inputs) {
    std::int64_t bytes = -1;
    with_inputs(inputs, [&](auto in) { return vlp_loss_block_saved_bytes(loss_.get(), in, &bytes); });
    return static_cast<std::size_t>(bytes);
  }
  void accumulate(const Inputs& inputs, const Outputs& outputs, const Sums& sums, Into into,
                  std::span<std::byte> saved) {
    const VlpSaved memory = memory_of(saved);
    with_inputs(inputs, [&](auto in) {
      return vlp_loss_accumulate(loss_.get(), device_.get(), in, Given(outputs_of(outputs)),
                                 Given(c_sums(sums)), into == Into::add ? 1 : 0, &memory);
    });
  }
  void merge(const Sums& from, const Sums& to) {
    succeed(vlp_loss_merge(loss_.get(), device_.get(), Given(c_sums(from)), Given(c_sums(to))));
  }
  void finish(const PairBlock& block, const Sums& sums, Accumulator& value) {
    Inputs numbers{};
    numbers.block = block;
    Outputs outputs{};
    outputs.loss = &value;
    with_inputs(numbers, [&](auto in) {
      return vlp_loss_finish(loss_.get(), device_.get(), in->numbers, in->number_count, Given(c_sums(sums)),
                             Given(outputs_of(outputs)));
    });
  }
  void differentiate(const Inputs& inputs, const Sums& sums, std::span<std::byte> saved, double upstream,
                     const Gradients& gradients) {
    const VlpSaved memory = memory_of(saved);
    with_gradients(inputs, gradients, [&](auto in, auto to) {
      return vlp_loss_differentiate(loss_.get(), device_.get(), in, Given(c_sums(sums)), &memory, upstream,
                                    to);
    });
  }

 private:
  /// Arrays that live as long as the call that they are given to.
  class Given {
   public:
    explicit Given(CArrays arrays) : memory_(std::move(arrays)), arrays_(memory_.get()) {}
    operator const VlpArrays*() const { return &arrays_; }

   private:
    CArrays memory_;
    VlpArrays arrays_;
  };

  static void succeed(VlpStatus status) {
    INFO(vlp_ops_error());
    REQUIRE(status == VLP_OK);
  }
  static VlpSaved memory_of(std::span<std::byte> saved) {
    return {saved.data(), static_cast<std::int64_t>(saved.size())};
  }
  static CArrays outputs_of(Outputs outputs) {
    CArrays out;
    out.add("loss", outputs.loss);
    L::for_each_output(outputs, [&](std::string_view name, auto& output) { out.add(name, output); });
    return out;
  }
  template <class Call>
  static void with_inputs(const Inputs& inputs, Call&& call) {
    const CInputs<L> given(inputs);
    const VlpInputs in = given.get();
    succeed(call(&in));
  }
  template <class Call>
  static void with_gradients(const Inputs& inputs, const Gradients& gradients, Call&& call) {
    const CArrays given = c_gradients<L>(gradients);
    const VlpGradients to{given.get(), gradients.into == Into::add ? 1 : 0};
    with_inputs(inputs, [&](auto in) { return call(in, &to); });
  }

  CLoss loss_;
  CDevice device_ = make_c_device(2);
};

}  // namespace vlp::test
