#include <vlp/cuda/losses/multi_scale.cuh>

template class vlp::detail::MultiScaleBackend<float, vlp::Cuda>;
template class vlp::detail::MultiScaleBackend<vlp::BFloat16, vlp::Cuda>;
template class vlp::detail::MultiScaleBackend<vlp::Half, vlp::Cuda>;
