#include <vlp/cuda/losses/perturbation_sensitivity.cuh>

template class vlp::PerturbationSensitivity<float, vlp::Cuda>;
template class vlp::PerturbationSensitivity<vlp::BFloat16, vlp::Cuda>;
template class vlp::PerturbationSensitivity<vlp::Half, vlp::Cuda>;
