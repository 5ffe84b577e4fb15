// vlp's losses on the CPU for other languages: the library libvlp_ops.
#include "any_loss.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/losses/all.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace vlp::bindings {

struct Place {
  using Device = Cpu;
  using Scalars = TypeList<float, double>;

  static std::unique_ptr<Cpu> make(std::intptr_t threads) {
    require(threads >= 0 && threads <= Cpu::most_threads, "Cpu: threads must be from 0 (all) to ",
            Cpu::most_threads, ", but is ", threads);
    return std::make_unique<Cpu>(static_cast<int>(threads));
  }
  static std::string_view name() { return "cpu"; }
  static std::string products() { return matmul_backend(); }
};

}  // namespace vlp::bindings

#include "functions.hpp"
