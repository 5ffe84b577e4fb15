#include <vlp/cuda/losses/perturbation_sensitivity.cuh>

template class vlp::detail::PerturbationSensitivityBackend<float, vlp::Cuda>;
template class vlp::detail::PerturbationSensitivityBackend<vlp::BFloat16, vlp::Cuda>;
template class vlp::detail::PerturbationSensitivityBackend<vlp::Half, vlp::Cuda>;
