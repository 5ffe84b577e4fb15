#include "support/alignment_cases.hpp"
#include "support/loss_benchmark.hpp"

#include <vlp/losses/local_alignment.hpp>

namespace vlp::benchmarks {
namespace {

const AtStart cases([] {
  for (const Case& one : {local_alignment_case(32, 40, 49, 768), local_alignment_case(12, 40, 361, 768),
                          local_alignment_case(64, 50, 196, 128)})
    add<LocalAlignment<float>>(one);
  for (Index batch = 8; batch <= 512; batch *= 2)
    add_to_scaling<LocalAlignment<float>>(local_alignment_case(batch, 40, 49, 256));
});

}  // namespace
}  // namespace vlp::benchmarks
