#include "losses_cuda/support/device_benchmark.hpp"
#include "support/pair_cases.hpp"

#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/info_nce.cuh>
#include <vlp/losses/loss.hpp>

#include <cstddef>

namespace vlp::benchmarks {
namespace {

/// The same with groups: ids are drawn from 7.5 times as many, so that an eighth of the pairs shares its own.
Case grouped(Index batch, Index features) {
  Case out = info_nce_case(batch, features);
  out.arrays["group"] = integers({batch}, batch * 15 / 2);
  out.variant = "grouped";
  return out;
}

const AtStart cases([] {
  constexpr std::size_t mib = 1 << 20;
  add<InfoNce<BFloat16, Cuda>>(info_nce_case(4096, 512), {.times_floor = 2});
  add<InfoNce<BFloat16, Cuda>>(info_nce_case(16384, 512));
  add<InfoNce<BFloat16, Cuda>>(info_nce_case(32768, 512), {.times_floor = 1.5, .scratch_bytes = 64 * mib});
  add<InfoNce<BFloat16, Cuda>>(info_nce_case(65536, 768), {.times_floor = 1.5});  // 50 ms
  add<InfoNce<BFloat16, Cuda>>(info_nce_case(131072, 512), {.times_floor = 1.45});
  for (const Index batch : {4096, 16384}) {
    add<InfoNce<Half, Cuda>>(info_nce_case(batch, 512));
    add<InfoNce<float, Cuda>>(info_nce_case(batch, 512));
  }
  const InfoNceOptions positives{.duplicate_policy = DuplicatePolicy::positives};
  for (const Index batch : {4096, 32768}) add<InfoNce<BFloat16, Cuda>>(grouped(batch, 512), {}, positives);
  add_quick<InfoNce<BFloat16, Cuda>>(info_nce_case(150, 40));
  add_quick<InfoNce<float, Cuda>>(info_nce_case(150, 40));
  add_quick<InfoNce<BFloat16, Cuda>>(grouped(150, 40), positives);
});

}  // namespace
}  // namespace vlp::benchmarks
