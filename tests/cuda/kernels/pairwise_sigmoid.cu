#include <vlp/cuda/losses/pairwise_sigmoid.cuh>

template class vlp::detail::PairwiseSigmoidBackend<float, vlp::Cuda>;
template class vlp::detail::PairwiseSigmoidBackend<vlp::BFloat16, vlp::Cuda>;
template class vlp::detail::PairwiseSigmoidBackend<vlp::Half, vlp::Cuda>;
