#include "losses_cuda/support/device_benchmark.hpp"

#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/info_nce.cuh>

#include <cmath>
#include <cstddef>

namespace vlp::benchmarks {
namespace {

/// The scores, the scores again in backward, and a product for each gradient: 8 B^2 D.
Case shape(Index batch, Index features) {
  return {.sizes = {{"B", batch}, {"D", features}},
          .arrays = {{"image", normal({batch, features})},
                     {"text", normal({batch, features})},
                     {"log_scale", constant(std::log(1 / 0.07))}},
          .flop = 8 * as_double(batch) * as_double(batch) * as_double(features)};
}

const AtStart cases([] {
  constexpr std::size_t mib = 1 << 20;
  add<InfoNce<BFloat16, Cuda>>(shape(4096, 512), {.times_floor = 2.5});
  add<InfoNce<BFloat16, Cuda>>(shape(16384, 512));
  add<InfoNce<BFloat16, Cuda>>(shape(32768, 512), {.times_floor = 1.8, .scratch_bytes = 64 * mib});
  add<InfoNce<BFloat16, Cuda>>(shape(131072, 512), {.times_floor = 2});
  for (const Index batch : {4096, 16384}) {
    add<InfoNce<Half, Cuda>>(shape(batch, 512));
    add<InfoNce<float, Cuda>>(shape(batch, 512));
  }
  add_quick<InfoNce<BFloat16, Cuda>>(shape(150, 40));
  add_quick<InfoNce<float, Cuda>>(shape(150, 40));
});

}  // namespace
}  // namespace vlp::benchmarks
