/// \file
/// The C interface that comparison/bridge.py calls losses through, except the device: arrays and options by
/// name, on memory of the caller's. A source that includes this, once, defines make_loss and has all
/// functions.
#pragma once

#include "support/bind.hpp"

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#define VLP_BRIDGE extern "C" __attribute__((visibility("default")))

extern "C" {

/// A contiguous array; a single number has rank 0. Without a gradient (null), none is written.
struct VlpArray {
  const char* name;
  void* values;
  void* gradient;
  std::int64_t element_bytes;
  std::int64_t rank;
  const std::int64_t* extents;
};

/// An option as a number; one of an enum by its place in it. Facts about the inputs that the host knows
/// (word_capacity) come as one too.
struct VlpOption {
  const char* name;
  double value;
};

}  // extern "C"

namespace vlp::benchmarks {

/// A loss, its device and what it was last given, behind one type.
class AnyLoss {
 public:
  virtual ~AnyLoss() = default;
  virtual void step(std::span<const VlpArray> arrays, void* value) = 0;
  virtual std::size_t scratch_bytes() = 0;
};

template <Loss L>
class OneLoss final : public AnyLoss {
 public:
  using Device = typename L::Device;

  OneLoss(std::unique_ptr<Device> device, std::span<const VlpOption> options)
      : device_(std::move(device)), loss_(read(options)), word_capacity_(read_word_capacity(options)) {}

  void step(std::span<const VlpArray> arrays, void* value) override {
    typename L::Inputs inputs{};
    if constexpr (has_word_capacity) inputs.word_capacity = word_capacity_;
    typename L::Gradients gradients{};
    std::size_t used = 0;
    L::for_each_input(inputs, gradients, [&](std::string_view name, auto& input, auto&... gradient) {
      for (const VlpArray& array : arrays) {
        if (array.name != name) continue;
        bind(array, input, gradient...);
        ++used;
      }
    });
    require(used == arrays.size(), L::name, ": knows ", used, " of the ", arrays.size(), " arrays given");
    typename L::Outputs outputs{};
    outputs.loss = static_cast<typename L::Accumulator*>(value);
    forward_backward(loss_, *device_, inputs, outputs, gradients);
  }

  std::size_t scratch_bytes() override { return device_->scratch().high_water(); }

 private:
  static typename L::Options read(std::span<const VlpOption> given) {
    typename L::Options options;
    for (const VlpOption& one : given) {
      bool known = false;
      L::for_each_option(options, [&](std::string_view name, auto& option) {
        if (one.name != name) return;
        set_option(option, one.value);
        known = true;
      });
      known = set_how(options, one) || is_word_capacity(one) || known;
      require(known, L::name, ": has no option ", one.name);
    }
    return options;
  }

  static constexpr bool has_word_capacity = requires(typename L::Inputs inputs) { inputs.word_capacity; };

  static bool is_word_capacity(const VlpOption& given) {
    return has_word_capacity && std::string_view(given.name) == "word_capacity";
  }

  static Index read_word_capacity(std::span<const VlpOption> given) {
    const auto found = std::find_if(given.begin(), given.end(), is_word_capacity);
    return found == given.end() ? 0 : static_cast<Index>(found->value);
  }

  /// Options that change how, but not what, is computed: for_each_option leaves them out.
  template <class Options>
  static bool set_how(Options& options, const VlpOption& given) {
    const std::string_view name = given.name;
    if constexpr (requires { options.form; })
      if (name == "form") return set_option(options.form, given.value), true;
    return false;
  }

  template <class Input, class... Gradient>
  static void bind(const VlpArray& array, Input& input, Gradient&... gradient) {
    constexpr auto bytes = static_cast<std::int64_t>(sizeof(ElementOf<Input>));
    require(array.element_bytes == bytes, array.name, ": elements have ", bytes, " bytes, but those given ",
            array.element_bytes);
    require(sizeof...(Gradient) > 0 || array.gradient == nullptr, array.name, ": has no gradient");
    const std::vector<Index> shape(array.extents, array.extents + array.rank);
    point(array.name, input, array.values, shape);
    if (array.gradient != nullptr) (point(array.name, gradient, array.gradient, shape), ...);
  }

  std::unique_ptr<Device> device_;
  L loss_;
  Index word_capacity_;
};

/// A loss of numbers of that type ("float32", "bfloat16", ...). `place` is what the device is made of: a
/// number of threads, or a CUDA stream. Throws std::invalid_argument where there is no such loss or an option
/// is wrong.
std::unique_ptr<AnyLoss> make_loss(std::string_view name, std::string_view type, std::intptr_t place,
                                   std::span<const VlpOption> options);

inline std::string& last_error() {
  thread_local std::string text;
  return text;
}

/// The result of `call()`, or `otherwise` where it throws.
template <class Call, class Result>
Result guarded(Call call, Result otherwise) {
  try {
    return call();
  } catch (const std::exception& error) {
    last_error() = error.what();
    return otherwise;
  }
}

}  // namespace vlp::benchmarks

// Functions that can fail return 0 or null and leave a sentence in vlp_error().

VLP_BRIDGE const char* vlp_error() {
  return vlp::benchmarks::last_error().c_str();
}

VLP_BRIDGE const char* vlp_compiler() {
  return VLP_BENCHMARK_COMPILER;
}

VLP_BRIDGE void* vlp_loss_make(const char* name, const char* type, std::intptr_t place,
                               const VlpOption* options, std::int64_t option_count) {
  return vlp::benchmarks::guarded(
      [&]() -> void* {
        const std::span<const VlpOption> given(options, static_cast<std::size_t>(option_count));
        return vlp::benchmarks::make_loss(name, type, place, given).release();
      },
      static_cast<void*>(nullptr));
}

/// Queues forward and backward; 1 where all went well. The loss goes to `value`, an accumulator in the
/// device's memory.
VLP_BRIDGE int vlp_loss_step(void* loss, const VlpArray* arrays, std::int64_t count, void* value) {
  return vlp::benchmarks::guarded(
      [&] {
        static_cast<vlp::benchmarks::AnyLoss*>(loss)->step({arrays, static_cast<std::size_t>(count)}, value);
        return 1;
      },
      0);
}

/// The most bytes that its steps have taken from the device's scratch arena.
VLP_BRIDGE std::int64_t vlp_loss_scratch(void* loss) {
  return static_cast<std::int64_t>(static_cast<vlp::benchmarks::AnyLoss*>(loss)->scratch_bytes());
}

VLP_BRIDGE void vlp_loss_free(void* loss) {
  delete static_cast<vlp::benchmarks::AnyLoss*>(loss);
}
