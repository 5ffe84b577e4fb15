#include "support/loss_benchmark.hpp"
#include "support/pair_cases.hpp"

#include <vlp/losses/info_nce.hpp>

#include <utility>

namespace vlp::benchmarks {
namespace {

const AtStart cases([] {
  for (const auto& [batch, features] : {std::pair(4096, 512), std::pair(16384, 256)}) {
    add<InfoNce<float>>(info_nce_case(batch, features));
    add_with_scores_kept<InfoNce<float>>(info_nce_case(batch, features));
  }
  for (Index batch = 512; batch <= 65536; batch *= 2)
    add_to_scaling<InfoNce<float>>(info_nce_case(batch, 256));
});

}  // namespace
}  // namespace vlp::benchmarks
