// vlp's losses on the CPU, for comparison/bridge.py.
#include "support/bridge.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/losses/all.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace vlp::benchmarks {
namespace {

template <class Scalar>
std::unique_ptr<AnyLoss> make(std::string_view name, int threads, std::span<const VlpOption> options) {
  std::unique_ptr<AnyLoss> out;
  const auto offer = [&]<class L>(std::type_identity<L>) {
    if (name == L::name) out = std::make_unique<OneLoss<L>>(std::make_unique<Cpu>(threads), options);
  };
  AllLosses<Scalar>::for_each(offer);
  require(out != nullptr, "there is no loss ", name);
  return out;
}

}  // namespace

std::unique_ptr<AnyLoss> make_loss(std::string_view name, std::string_view type, std::intptr_t threads,
                                   std::span<const VlpOption> options) {
  require(type == "float32" || type == "float64", name, ": is not there for numbers of type ", type);
  return type == "float64" ? make<double>(name, static_cast<int>(threads), options)
                           : make<float>(name, static_cast<int>(threads), options);
}

}  // namespace vlp::benchmarks

VLP_BRIDGE const char* vlp_backend() {
  static const std::string name = vlp::matmul_backend();
  return name.c_str();
}
