#include <vlp/cuda/losses/info_nce.cuh>

template class vlp::InfoNce<float, vlp::Cuda>;
template class vlp::InfoNce<vlp::BFloat16, vlp::Cuda>;
template class vlp::InfoNce<vlp::Half, vlp::Cuda>;
