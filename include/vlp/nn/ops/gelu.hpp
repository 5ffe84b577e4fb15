/// \file
/// Device operation: the Gaussian error linear unit.
#pragma once

#include <Eigen/Core>

#include <vlp/core/cpu.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/ops/rows.hpp>

#include <algorithm>
#include <type_traits>

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

/// Calls bod_y(begin, count) for runs of [0, size), in parallel.
template <class Bod_y>
void for_each_gelu_run(Cpu& device, Index size, Bod_y&& bod_y) {
  device.parallel_ranges(size, 64 * gelu_run, [&](Index begin, Index end) {
    for (Index i = begin; i < end; i += gelu_run) bod_y(i, std::min(gelu_run, end - i));
  });
}

}  // namespace nn::detail

/// y = GELU(x) in its tanh form, x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 (Hendrycks & Gimpel,
/// "Gaussian error linear units", 2016): within 5e-4 of the exact one, and vectorised where tanh is. y may be
/// x.
template <class Scalar>
void gelu_forward(Cpu& device, const Scalar* x, Scalar* y, Index size) {
  nn::detail::for_each_gelu_run(device, size, [&](Index i, Index n) {
    const auto in = nn::detail::as_array(x + i, n);
    const nn::detail::GeluRun<Scalar> t = nn::detail::gelu_tanh<Scalar>(in);
    nn::detail::as_array(y + i, n) = Scalar(0.5) * in * (Scalar(1) + t);
  });
}

/// d_x = d_y GELU'(x); d_x may be d_y. Where `y` is not null, also y = GELU(x), which costs nothing here and
/// so need not be kept; y may be x.
template <class Scalar>
void gelu_backward(Cpu& device, const Scalar* x, const Scalar* d_y, Scalar* d_x, Scalar* y, Index size) {
  using nn::detail::GeluRun;
  nn::detail::for_each_gelu_run(device, size, [&](Index i, Index n) {
    const auto in = nn::detail::as_array(x + i, n);
    const GeluRun<Scalar> t = nn::detail::gelu_tanh<Scalar>(in);
    constexpr auto scale = Scalar(nn::detail::gelu_scale), cubic = Scalar(3 * nn::detail::gelu_cubic);
    const auto half_one_plus = Scalar(0.5) * (Scalar(1) + t);
    nn::detail::as_array(d_x + i, n) = nn::detail::as_array(d_y + i, n) *
                                       (half_one_plus + Scalar(0.5) * scale * in * (Scalar(1) - t.square()) *
                                                            (Scalar(1) + cubic * in.square()));
    if (y != nullptr) nn::detail::as_array(y + i, n) = in * half_one_plus;
  });
}

}  // namespace vlp
