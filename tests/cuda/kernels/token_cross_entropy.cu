#include <vlp/cuda/losses/token_cross_entropy.cuh>

template class vlp::detail::TokenCrossEntropyBackend<float, vlp::Cuda>;
template class vlp::detail::TokenCrossEntropyBackend<vlp::BFloat16, vlp::Cuda>;
template class vlp::detail::TokenCrossEntropyBackend<vlp::Half, vlp::Cuda>;
