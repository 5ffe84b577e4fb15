/// \file
/// Device operation: layer normalisation.
#pragma once

#include <Eigen/Core>

#include <vlp/core/cpu.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/ops/rows.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace vlp {

/// For each row of x [T, D]: y = (x - mean) / sqrt(variance + epsilon) * gain + bias, with the biased
/// variance. Keeps mean [T] and inverse_deviation [T] = 1 / sqrt(variance + epsilon) for backward. y may be
/// x.
template <class Scalar>
void layer_norm_forward(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> x, const Scalar* gain,
                        const Scalar* bias, Scalar epsilon, std::type_identity_t<MatrixView<Scalar>> y,
                        Scalar* mean, Scalar* inverse_deviation) {
  const auto g = nn::detail::as_array(gain, x.cols()), b = nn::detail::as_array(bias, x.cols());
  device.parallel_ranges(x.rows(), nn::detail::row_grain(x.cols()), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) {
      const auto in = nn::detail::row(x, t);
      mean[t] = in.mean();
      inverse_deviation[t] = Scalar(1) / std::sqrt((in - mean[t]).square().mean() + epsilon);
      nn::detail::row(y, t) = (in - mean[t]) * inverse_deviation[t] * g + b;
    }
  });
}

/// The gradient of layer_norm_forward: adds to d_gain and d_bias [D], and writes (or adds to) d_x [T, D]
/// unless it is not given. `x` is the input of forward. d_x may be d_y.
template <class Scalar>
void layer_norm_backward(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> x, const Scalar* gain,
                         const Scalar* mean, const Scalar* inverse_deviation,
                         std::type_identity_t<MatrixView<const Scalar>> d_y, Scalar* d_gain, Scalar* d_bias,
                         std::type_identity_t<MatrixView<Scalar>> d_x, Into into) {
  const Index cols = x.cols();
  const auto g = nn::detail::as_array(gain, cols);
  auto scope = device.scratch().scope();
  Scalar* sums = scope.template take<Scalar>(2 * cols);
  std::fill_n(sums, 2 * cols, Scalar(0));
  nn::detail::sum_over_rows<Scalar>(
      device, x.rows(), 2 * cols, sums, [&](Index begin, Index end, Scalar* sum) {
        auto gain_sum = nn::detail::as_array(sum, cols), bias_sum = nn::detail::as_array(sum + cols, cols);
        for (Index t = begin; t < end; ++t) {
          const auto upstream = nn::detail::row(d_y, t);
          const auto normal = (nn::detail::row(x, t) - mean[t]) * inverse_deviation[t];
          gain_sum += upstream * normal;
          bias_sum += upstream;
          if (!d_x.given()) continue;
          const Scalar mean_d = (upstream * g).mean(), mean_nd = (upstream * g * normal).mean();
          const auto gradient = inverse_deviation[t] * (upstream * g - mean_d - normal * mean_nd);
          if (into == Into::add)
            nn::detail::row(d_x, t) += gradient;
          else
            nn::detail::row(d_x, t) = gradient;
        }
      });
  nn::detail::as_array(d_gain, cols) += nn::detail::as_array(sums, cols);
  nn::detail::as_array(d_bias, cols) += nn::detail::as_array(sums + cols, cols);
}

}  // namespace vlp
