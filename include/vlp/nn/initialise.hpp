/// \file
/// Initial values of parameters.
#pragma once

#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>

#include <cmath>

namespace vlp::nn {

/// Uniform in +-sqrt(6 / (inputs + outputs)), which keeps the variance of signals and gradients (Glorot &
/// Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010): linear layers.
template <class Scalar, class Device>
void initialise_xavier(Parameter<Scalar, Device>& parameter, Index inputs, Index outputs, Random& random) {
  const auto bound = static_cast<float>(std::sqrt(6.0 / static_cast<double>(inputs + outputs)));
  parameter.initialise([&] { return random.uniform(-bound, bound); });
}

/// Normal with deviation sqrt(2 / inputs) (He et al., "Delving deep into rectifiers", 2015): convolutions.
template <class Scalar, class Device>
void initialise_he(Parameter<Scalar, Device>& parameter, Index inputs, Random& random) {
  const auto deviation = static_cast<float>(std::sqrt(2.0 / static_cast<double>(inputs)));
  parameter.initialise([&] { return deviation * random.normal(); });
}

/// Normal of the given deviation, redrawn beyond two deviations (Devlin et al., "BERT", 2019: 0.02):
/// embeddings.
template <class Scalar, class Device>
void initialise_truncated_normal(Parameter<Scalar, Device>& parameter, float deviation, Random& random) {
  parameter.initialise([&] {
    float x = random.normal();
    while (std::abs(x) > 2.0f) x = random.normal();
    return deviation * x;
  });
}

}  // namespace vlp::nn
