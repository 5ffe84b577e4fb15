#include <vlp/cuda/losses/distillation.cuh>

template class vlp::detail::DistillationBackend<float, vlp::Cuda>;
template class vlp::detail::DistillationBackend<vlp::BFloat16, vlp::Cuda>;
template class vlp::detail::DistillationBackend<vlp::Half, vlp::Cuda>;
