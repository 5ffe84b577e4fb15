#include "losses_cuda/support/device_benchmark.hpp"
#include "support/alignment_cases.hpp"

#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/multi_scale.cuh>

namespace vlp::benchmarks {
namespace {

const AtStart cases([] {
  add<MultiScale<BFloat16, Cuda>>(multi_scale_case(64, 9, 97, 196, 768));
  add<MultiScale<BFloat16, Cuda>>(multi_scale_case(512, 9, 97, 49, 768));
  add_quick<MultiScale<BFloat16, Cuda>>(multi_scale_case(3, 2, 5, 6, 24));
});

}  // namespace
}  // namespace vlp::benchmarks
