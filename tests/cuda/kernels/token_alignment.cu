#include <vlp/cuda/losses/token_alignment.cuh>

template class vlp::detail::TokenAlignmentBackend<float, vlp::Cuda>;
template class vlp::detail::TokenAlignmentBackend<vlp::BFloat16, vlp::Cuda>;
template class vlp::detail::TokenAlignmentBackend<vlp::Half, vlp::Cuda>;
