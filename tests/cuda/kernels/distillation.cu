#include <vlp/cuda/losses/distillation.cuh>

template class vlp::Distillation<float, vlp::Cuda>;
template class vlp::Distillation<vlp::BFloat16, vlp::Cuda>;
template class vlp::Distillation<vlp::Half, vlp::Cuda>;
