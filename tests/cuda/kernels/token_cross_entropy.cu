#include <vlp/cuda/losses/token_cross_entropy.cuh>

template class vlp::TokenCrossEntropy<float, vlp::Cuda>;
template class vlp::TokenCrossEntropy<vlp::BFloat16, vlp::Cuda>;
template class vlp::TokenCrossEntropy<vlp::Half, vlp::Cuda>;
