/// \file
/// Layer normalisation on the CPU.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/into.hpp>
#include <vlp/nn/cpu/rows.hpp>
#include <vlp/nn/ops/arguments.hpp>

#include <algorithm>
#include <cmath>

namespace vlp {

template <class Scalar>
void layer_norm_forward(Cpu& device, const nn::LayerNormForward<Scalar>& a) {
  const Index cols = a.x.cols();
  const auto gain = nn::detail::as_array(a.gain, cols), bias = nn::detail::as_array(a.bias, cols);
  device.parallel_ranges(a.x.rows(), nn::detail::row_grain(cols), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) {
      const auto in = nn::detail::row(a.x, t);
      a.mean[t] = in.mean();
      a.inverse_deviation[t] = Scalar(1) / std::sqrt((in - a.mean[t]).square().mean() + a.epsilon);
      nn::detail::row(a.y, t) = (in - a.mean[t]) * a.inverse_deviation[t] * gain + bias;
    }
  });
}

template <class Scalar>
void layer_norm_backward(Cpu& device, const nn::LayerNormBackward<Scalar>& a) {
  const Index cols = a.x.cols();
  const auto gain = nn::detail::as_array(a.gain, cols);
  auto scope = device.scratch().scope();
  Scalar* sums = scope.template take<Scalar>(2 * cols);
  std::fill_n(sums, 2 * cols, Scalar(0));
  nn::detail::sum_over_rows<Scalar>(
      device, a.x.rows(), 2 * cols, sums, [&](Index begin, Index end, Scalar* sum) {
        auto gain_sum = nn::detail::as_array(sum, cols), bias_sum = nn::detail::as_array(sum + cols, cols);
        for (Index t = begin; t < end; ++t) {
          const auto upstream = nn::detail::row(a.d_y, t);
          const auto normal = (nn::detail::row(a.x, t) - a.mean[t]) * a.inverse_deviation[t];
          gain_sum += upstream * normal;
          bias_sum += upstream;
          if (!a.d_x.given()) continue;
          const Scalar mean_d = (upstream * gain).mean(), mean_nd = (upstream * gain * normal).mean();
          const auto gradient = a.inverse_deviation[t] * (upstream * gain - mean_d - normal * mean_nd);
          if (a.into == Into::add)
            nn::detail::row(a.d_x, t) += gradient;
          else
            nn::detail::row(a.d_x, t) = gradient;
        }
      });
  nn::detail::as_array(a.d_gain, cols) += nn::detail::as_array(sums, cols);
  nn::detail::as_array(a.d_bias, cols) += nn::detail::as_array(sums + cols, cols);
}

}  // namespace vlp
