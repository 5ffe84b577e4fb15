#include <vlp/cuda/losses/token_alignment.cuh>

template class vlp::TokenAlignment<float, vlp::Cuda>;
template class vlp::TokenAlignment<vlp::BFloat16, vlp::Cuda>;
template class vlp::TokenAlignment<vlp::Half, vlp::Cuda>;
