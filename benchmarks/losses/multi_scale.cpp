#include "support/alignment_cases.hpp"
#include "support/loss_benchmark.hpp"

#include <vlp/losses/multi_scale.hpp>

namespace vlp::benchmarks {
namespace {

const AtStart cases([] { add<MultiScale<float>>(multi_scale_case(64, 9, 40, 49, 256)); });

}  // namespace
}  // namespace vlp::benchmarks
