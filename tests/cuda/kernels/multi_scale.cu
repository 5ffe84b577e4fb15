#include <vlp/cuda/losses/multi_scale.cuh>

template class vlp::MultiScale<float, vlp::Cuda>;
template class vlp::MultiScale<vlp::BFloat16, vlp::Cuda>;
template class vlp::MultiScale<vlp::Half, vlp::Cuda>;
