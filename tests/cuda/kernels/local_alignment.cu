#include <vlp/cuda/losses/local_alignment.cuh>

template class vlp::detail::LocalAlignmentBackend<float, vlp::Cuda>;
template class vlp::detail::LocalAlignmentBackend<vlp::BFloat16, vlp::Cuda>;
template class vlp::detail::LocalAlignmentBackend<vlp::Half, vlp::Cuda>;
