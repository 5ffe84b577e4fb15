#include <vlp/cuda/losses/info_nce.cuh>

template class vlp::detail::InfoNceBackend<float, vlp::Cuda>;
template class vlp::detail::InfoNceBackend<vlp::BFloat16, vlp::Cuda>;
template class vlp::detail::InfoNceBackend<vlp::Half, vlp::Cuda>;
