/// \file
/// The Gaussian error linear unit on the CPU.
#pragma once

#include <Eigen/Core>

#include <vlp/core/cpu.hpp>
#include <vlp/nn/cpu/rows.hpp>
#include <vlp/nn/types.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace vlp {

namespace nn::detail {

/// A run of elements short enough to keep its intermediate values in the first-level cache.
inline constexpr Index gelu_run = 256;
template <class Scalar>
using GeluRun = Eigen::Array<Scalar, Eigen::Dynamic, 1, 0, gelu_run, 1>;
inline constexpr double gelu_scale = 0.79788456080286535588;  // sqrt(2 / pi)
inline constexpr double gelu_cubic = 0.044715;

/// tanh(sqrt(2 / pi) (x + 0.044715 x^3)).
template <class Scalar, class X>
GeluRun<Scalar> gelu_tanh(const X& x) {
  GeluRun<Scalar> t = Scalar(gelu_scale) * x * (Scalar(1) + Scalar(gelu_cubic) * x.square());
  t = t.tanh();
  return t;
}

/// The share of a standard normal distribution below each x. By erfc, which keeps its digits far below zero.
template <class Scalar, class X>
GeluRun<Scalar> normal_share(const X& x) {
  GeluRun<Scalar> share = x * Scalar(-1 / std::numbers::sqrt2);
  for (Index i = 0; i < share.size(); ++i) share[i] = Scalar(0.5) * std::erfc(share[i]);
  return share;
}

/// Calls body(begin, count) for runs of [0, size), in parallel.
template <class Body>
void for_each_gelu_run(Cpu& device, Index size, Body&& body) {
  device.parallel_ranges(size, 64 * gelu_run, [&](Index begin, Index end) {
    for (Index i = begin; i < end; i += gelu_run) body(i, std::min(gelu_run, end - i));
  });
}

}  // namespace nn::detail

template <class Scalar>
void gelu_forward(Cpu& device, nn::GeluForm form, const Scalar* x, Scalar* y, Index size) {
  nn::detail::for_each_gelu_run(device, size, [&](Index i, Index n) {
    const auto in = nn::detail::as_array(x + i, n);
    if (form == nn::GeluForm::erf) {
      nn::detail::as_array(y + i, n) = in * nn::detail::normal_share<Scalar>(in);
      return;
    }
    const nn::detail::GeluRun<Scalar> t = nn::detail::gelu_tanh<Scalar>(in);
    nn::detail::as_array(y + i, n) = Scalar(0.5) * in * (Scalar(1) + t);
  });
}

template <class Scalar>
void gelu_backward(Cpu& device, nn::GeluForm form, const Scalar* x, const Scalar* d_y, Scalar* d_x, Scalar* y,
                   Index size) {
  using nn::detail::GeluRun;
  nn::detail::for_each_gelu_run(device, size, [&](Index i, Index n) {
    const auto in = nn::detail::as_array(x + i, n), upstream = nn::detail::as_array(d_y + i, n);
    auto gradient = nn::detail::as_array(d_x + i, n);
    if (form == nn::GeluForm::erf) {
      const GeluRun<Scalar> share = nn::detail::normal_share<Scalar>(in);
      constexpr auto density = Scalar(0.5 * nn::detail::gelu_scale);  // 1 / sqrt(2 pi)
      gradient = upstream * (share + density * in * (Scalar(-0.5) * in.square()).exp());
      if (y != nullptr) nn::detail::as_array(y + i, n) = in * share;
      return;
    }
    const GeluRun<Scalar> t = nn::detail::gelu_tanh<Scalar>(in);
    constexpr auto scale = Scalar(nn::detail::gelu_scale), cubic = Scalar(3 * nn::detail::gelu_cubic);
    const auto half_one_plus = Scalar(0.5) * (Scalar(1) + t);
    gradient = upstream * (half_one_plus + Scalar(0.5) * scale * in * (Scalar(1) - t.square()) *
                                               (Scalar(1) + cubic * in.square()));
    if (y != nullptr) nn::detail::as_array(y + i, n) = in * half_one_plus;
  });
}

}  // namespace vlp
