/// \file
/// The operations of optimisers (optim/ops/operations.hpp) on the CPU.
#pragma once

#include <Eigen/Core>

#include <vlp/core/cpu.hpp>
#include <vlp/core/view.hpp>
#include <vlp/optim/ops/operations.hpp>

#include <algorithm>
#include <type_traits>

namespace vlp {

namespace optim::detail {
template <class Scalar>
using Elements = Eigen::Map<Eigen::Array<Scalar, Eigen::Dynamic, 1>>;
}  // namespace optim::detail

template <class Scalar>
void adamw_update(Cpu& device, optim::Pieces<Scalar> pieces, const optim::AdamWStep<Scalar>& step,
                  Scalar* first, Scalar* second) {
  device.parallel_for(pieces.size(), [&](Index p, int) {
    const optim::Piece<Scalar>& piece = pieces[p];
    const Scalar keep = piece.weight_decay == WeightDecay::yes ? step.keep : Scalar(1);
    constexpr Index run = 1024;  // stays in the first-level cache between the three statements
    for (Index i = 0; i < piece.size; i += run) {
      using optim::detail::Elements;
      const Index n = std::min(run, piece.size - i);
      const Elements<Scalar> g(piece.gradient + i, n);
      Elements<Scalar> x(piece.value + i, n), m(first + piece.state + i, n), v(second + piece.state + i, n);
      m = step.beta1 * m + (Scalar(1) - step.beta1) * g;
      v = step.beta2 * v + (Scalar(1) - step.beta2) * g.square();
      x = keep * x - step.rate * m / (v.sqrt() * step.scale + step.epsilon);
    }
  });
}

template <class Scalar>
void sgd_update(Cpu& device, optim::Pieces<Scalar> pieces, const optim::SgdStep<Scalar>& step,
                Scalar* velocity) {
  device.parallel_for(pieces.size(), [&](Index p, int) {
    const optim::Piece<Scalar>& piece = pieces[p];
    const Scalar decay = piece.weight_decay == WeightDecay::yes ? step.weight_decay : Scalar(0);
    Scalar* v = velocity + piece.state;
    for (Index i = 0; i < piece.size; ++i) {
      const Scalar d = piece.gradient[i] + decay * piece.value[i];
      v[i] = step.momentum * v[i] + d;
      piece.value[i] -= step.rate * (step.nesterov ? d + step.momentum * v[i] : v[i]);
    }
  });
}

template <class Scalar>
void sum_of_squares(Cpu& device, optim::Pieces<Scalar> pieces, double* sum) {
  auto scope = device.scratch().scope();
  double* sums = scope.template take<double>(pieces.size());
  device.parallel_for(pieces.size(), [&](Index p, int) {
    const optim::detail::Elements<Scalar> gradient(pieces[p].gradient, pieces[p].size);
    sums[p] = gradient.template cast<double>().square().sum();
  });
  *sum = 0;
  for (Index p = 0; p < pieces.size(); ++p) *sum += sums[p];
}

template <class Scalar>
void scale_gradients(Cpu& device, optim::Pieces<Scalar> pieces, std::type_identity_t<Scalar> factor) {
  device.parallel_for(pieces.size(), [&](Index p, int) {
    optim::detail::Elements<Scalar>(pieces[p].gradient, pieces[p].size) *= factor;
  });
}

template <class Scalar>
void clamp_above(Cpu&, VectorView<Scalar> values, std::type_identity_t<Scalar> bound) {
  for (Index i = 0; i < values.size(); ++i) values[i] = std::min(values[i], bound);
}

static_assert(optim::Operations<Cpu, float> && optim::Operations<Cpu, double>);

}  // namespace vlp
