/// \file
/// The operations that optimisers need from a device: the contract that each device fulfils.
///
/// They are free functions in the device's namespace, found by argument-dependent lookup (see
/// core/device.hpp). All pointers and views are device memory. An argument of an operation is valid; the
/// optimisers have checked it.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

namespace vlp::optim {

/// A run of elements of one parameter: the unit of work of an optimiser. Runs depend on the list of
/// parameters alone, so that sums over them are the same for any number of threads.
template <class Scalar>
struct Piece {
  Scalar* value;
  Scalar* gradient;
  Index size;
  Index state;  ///< where its elements begin in each array of the optimiser's state
  WeightDecay weight_decay;
};

/// The runs of a list of parameters.
template <class Scalar>
using Pieces = VectorView<const Piece<Scalar>>;

/// The numbers of one step of AdamW, in the type that the update computes in.
template <class Number>
struct AdamWStep {
  Number beta1, beta2;
  Number rate;   ///< learning rate / (1 - beta1^t)
  Number scale;  ///< 1 / sqrt(1 - beta2^t)
  Number epsilon;
  Number keep;  ///< 1 - learning rate * weight decay, the factor of values that decay
};

/// The numbers of one step of Sgd.
template <class Number>
struct SgdStep {
  Number rate, momentum, weight_decay;
  bool nesterov;
};

/// All that a device owes to the optimisers, for parameters of type `Scalar`:
///
/// adamw_update(device, pieces, step, first, second): for each element with gradient g,
///   first = beta1 first + (1 - beta1) g,  second = beta2 second + (1 - beta2) g^2,
///   value = keep value - rate first / (sqrt(second) scale + epsilon),  with keep = 1 where weight decay does
///   not apply.
///
/// sgd_update(device, pieces, step, velocity): d = g + weight_decay value (weight_decay = 0 where it does not
///   apply), velocity = momentum velocity + d, value -= rate velocity, or with Nesterov momentum
///   value -= rate (d + momentum velocity).
///
/// sum_of_squares(device, pieces, sum): *sum = the sum of the squared gradients, in double.
///
/// scale_gradients(device, pieces, factor): multiplies all gradients by factor.
///
/// clamp_above(device, values, bound): value = min(value, bound); NaN stays NaN.
template <class D, class Scalar>
concept Operations = requires(D& device, Pieces<Scalar> pieces, Scalar* state, double* sum,
                              VectorView<Scalar> values, const AdamWStep<AccumulatorOf<Scalar>>& adamw,
                              const SgdStep<AccumulatorOf<Scalar>>& sgd, AccumulatorOf<Scalar> number) {
  adamw_update<Scalar>(device, pieces, adamw, state, state);
  sgd_update<Scalar>(device, pieces, sgd, state);
  sum_of_squares<Scalar>(device, pieces, sum);
  scale_gradients<Scalar>(device, pieces, number);
  clamp_above<Scalar>(device, values, number);
};

}  // namespace vlp::optim

// Optimisers work out of the box on the default device. Code compiled for CUDA brings operations of its own
// and is spared Eigen.
#ifndef __CUDACC__
#include <vlp/optim/cpu/operations.hpp>
#endif
