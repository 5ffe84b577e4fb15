#include <vlp/cuda/losses/local_alignment.cuh>

template class vlp::LocalAlignment<float, vlp::Cuda>;
template class vlp::LocalAlignment<vlp::BFloat16, vlp::Cuda>;
template class vlp::LocalAlignment<vlp::Half, vlp::Cuda>;
