// vlp's losses as a C interface, for comparison/bridge.py: arrays and options by name, on memory of the
// caller's. Every function that can fail returns 0 or null and leaves a sentence in vlp_error().
#include "support/bind.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/losses/distillation.hpp>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/local_alignment.hpp>
#include <vlp/losses/multi_scale.hpp>
#include <vlp/losses/pairwise_sigmoid.hpp>
#include <vlp/losses/perturbation_sensitivity.hpp>
#include <vlp/losses/token_alignment.hpp>
#include <vlp/losses/token_cross_entropy.hpp>
#include <vlp/losses/types.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#define VLP_BRIDGE extern "C" [[gnu::visibility("default")]]

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

/// An option as a number; one of an enum by its place in it.
struct VlpOption {
  const char* name;
  double value;
};

}  // extern "C"

namespace {

using namespace vlp::benchmarks;
using vlp::require;

/// A loss, its device and what it was last given, behind one type.
class AnyLoss {
 public:
  virtual ~AnyLoss() = default;
  virtual double step(std::span<const VlpArray> arrays) = 0;
};

template <vlp::Loss L>
class OneLoss final : public AnyLoss {
 public:
  OneLoss(std::span<const VlpOption> options, int threads) : device_(threads), loss_(read(options)) {}

  double step(std::span<const VlpArray> arrays) override {
    typename L::Inputs inputs{};
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
    typename L::Accumulator value = 0;
    typename L::Outputs outputs{};
    outputs.loss = &value;
    forward_backward(loss_, device_, inputs, outputs, gradients);
    return static_cast<double>(value);
  }

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
      known = set_how(options, one) || known;
      require(known, L::name, ": has no option ", one.name);
    }
    return options;
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
    const std::vector<vlp::Index> shape(array.extents, array.extents + array.rank);
    point(array.name, input, array.values, shape);
    if (array.gradient != nullptr) (point(array.name, gradient, array.gradient, shape), ...);
  }

  vlp::Cpu device_;
  L loss_;
};

template <class Scalar>
std::unique_ptr<AnyLoss> make(std::string_view name, std::span<const VlpOption> options, int threads) {
  std::unique_ptr<AnyLoss> out;
  const auto offer = [&]<class L>(std::type_identity<L>) {
    if (name == L::name) out = std::make_unique<OneLoss<L>>(options, threads);
  };
  offer(std::type_identity<vlp::InfoNce<Scalar>>{});
  offer(std::type_identity<vlp::PairwiseSigmoid<Scalar>>{});
  offer(std::type_identity<vlp::LocalAlignment<Scalar>>{});
  offer(std::type_identity<vlp::PerturbationSensitivity<Scalar>>{});
  offer(std::type_identity<vlp::MultiScale<Scalar>>{});
  offer(std::type_identity<vlp::TokenCrossEntropy<Scalar>>{});
  offer(std::type_identity<vlp::Distillation<Scalar>>{});
  offer(std::type_identity<vlp::TokenAlignment<Scalar>>{});
  require(out != nullptr, "there is no loss ", name);
  return out;
}

std::string& last_error() {
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

}  // namespace

VLP_BRIDGE const char* vlp_error() {
  return last_error().c_str();
}

VLP_BRIDGE const char* vlp_backend() {
  static const std::string name = vlp::matmul_backend();
  return name.c_str();
}

VLP_BRIDGE const char* vlp_compiler() {
  return VLP_BENCHMARK_COMPILER;
}

/// A loss of float, or of double; null where there is none of that name or an option is wrong.
VLP_BRIDGE void* vlp_loss_make(const char* name, int is_double, int threads, const VlpOption* options,
                               std::int64_t option_count) {
  return guarded(
      [&]() -> void* {
        const std::span<const VlpOption> given(options, static_cast<std::size_t>(option_count));
        return (is_double != 0 ? make<double>(name, given, threads) : make<float>(name, given, threads))
            .release();
      },
      static_cast<void*>(nullptr));
}

/// Forward and backward; 1 where all went well.
VLP_BRIDGE int vlp_loss_step(void* loss, const VlpArray* arrays, std::int64_t count, double* value) {
  return guarded(
      [&] {
        *value = static_cast<AnyLoss*>(loss)->step({arrays, static_cast<std::size_t>(count)});
        return 1;
      },
      0);
}

VLP_BRIDGE void vlp_loss_free(void* loss) {
  delete static_cast<AnyLoss*>(loss);
}
