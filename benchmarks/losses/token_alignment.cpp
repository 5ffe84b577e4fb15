#include "support/alignment_cases.hpp"
#include "support/loss_benchmark.hpp"

#include <vlp/losses/token_alignment.hpp>

namespace vlp::benchmarks {
namespace {

const AtStart cases([] { add<TokenAlignment<float>>(token_alignment_case(64, 40, 49, 768)); });

}  // namespace
}  // namespace vlp::benchmarks
