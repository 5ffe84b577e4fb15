#include "losses_cuda/support/device_benchmark.hpp"
#include "support/pair_cases.hpp"

#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/pairwise_sigmoid.cuh>
#include <vlp/losses/loss.hpp>

namespace vlp::benchmarks {
namespace {

const AtStart cases([] {
  add<PairwiseSigmoid<BFloat16, Cuda>>(pairwise_sigmoid_case(4096, 512));
  add<PairwiseSigmoid<BFloat16, Cuda>>(pairwise_sigmoid_case(32768, 512));
  add<PairwiseSigmoid<BFloat16, Cuda>>(pairwise_sigmoid_case(65536, 768), {.times_floor = 1.51});  // 38 ms
  add<PairwiseSigmoid<Half, Cuda>>(pairwise_sigmoid_case(4096, 512));
  add<PairwiseSigmoid<float, Cuda>>(pairwise_sigmoid_case(4096, 512));
  add_quick<PairwiseSigmoid<BFloat16, Cuda>>(pairwise_sigmoid_case(150, 40));
  add_quick<PairwiseSigmoid<float, Cuda>>(pairwise_sigmoid_case(150, 40));
});

}  // namespace
}  // namespace vlp::benchmarks
