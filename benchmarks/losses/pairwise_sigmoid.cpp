#include "support/loss_benchmark.hpp"
#include "support/pair_cases.hpp"

#include <vlp/losses/pairwise_sigmoid.hpp>

namespace vlp::benchmarks {
namespace {

const AtStart cases([] { add<PairwiseSigmoid<float>>(pairwise_sigmoid_case(4096, 512)); });

}  // namespace
}  // namespace vlp::benchmarks
