/// \file
/// The losses' oracle: the definitions as one would write them in NumPy, nothing tiled or fused, in double.
#pragma once

#include "support/loss_case.hpp"

#include <xtensor/xadapt.hpp>
#include <xtensor/xbuilder.hpp>
#include <xtensor/xmath.hpp>
#include <xtensor/xtensor.hpp>
#include <xtensor/xview.hpp>

#include <cmath>
#include <cstdint>

namespace vlp::test::literal {

using Matrix = xt::xtensor<double, 2>;

struct Result {
  double loss = 0;
  Arrays gradients;
};

inline Matrix matrix(const Array& array) {
  return xt::adapt(array.values, {static_cast<std::size_t>(array.shape.at(0)),
                                  static_cast<std::size_t>(array.shape.at(1))});
}

inline Array array(const Matrix& m) {
  return {{static_cast<Index>(m.shape(0)), static_cast<Index>(m.shape(1))}, {m.begin(), m.end()}};
}

/// [N, D] x [D, M]
inline Matrix dot(const Matrix& a, const Matrix& b) {
  return xt::sum(
      xt::view(a, xt::all(), xt::all(), xt::newaxis()) * xt::view(b, xt::newaxis(), xt::all(), xt::all()),
      {1});
}

/// [N, M] to [N, 1]. At once: xtensor 0.24 reads out of bounds where a lazy sum is broadcast.
inline Matrix row_sums(const Matrix& m) {
  return xt::sum(m, {1}, xt::keep_dims | xt::evaluation_strategy::immediate);
}

inline Matrix row_maxima(const Matrix& m) {
  return xt::amax(m, {1}, xt::keep_dims | xt::evaluation_strategy::immediate);
}

/// A copy: xtensor's own view of a temporary would outlive it.
inline Matrix transpose(const Matrix& m) {
  return xt::transpose(m);
}

inline Matrix norms(const Matrix& x) {
  return xt::sqrt(row_sums(x * x));
}

inline Matrix normalize(const Matrix& x) {
  return x / xt::maximum(norms(x), 1e-12);
}

/// The gradient for x, from that for normalize(x).
inline Matrix normalize_backward(const Matrix& x, const Matrix& g) {
  const Matrix unit = normalize(x);
  const Matrix along = unit * row_sums(unit * g);
  return (g - xt::where(xt::broadcast(norms(x) > 1e-12, x.shape()), along, 0.0)) /
         xt::maximum(norms(x), 1e-12);
}

/// Softmax of each row.
inline Matrix softmax(const Matrix& x) {
  const Matrix e = xt::exp(x - row_maxima(x));
  return e / row_sums(e);
}

/// Scores and gradients of what is a function of exp(s) X^ Y^T alone.
struct Pairs {
  explicit Pairs(const Arrays& in)
      : image(matrix(in.at("image"))),
        text(matrix(in.at("text"))),
        scale(std::exp(in.at("log_scale").values.at(0))),
        scores(scale * dot(normalize(image), transpose(normalize(text)))) {}

  [[nodiscard]] Arrays backward(const Matrix& d_scores) const {
    const Matrix d_image = scale * dot(d_scores, normalize(text));
    const Matrix d_text = scale * dot(transpose(d_scores), normalize(image));
    return {{"image", array(normalize_backward(image, d_image))},
            {"text", array(normalize_backward(text, d_text))},
            {"log_scale", number(xt::sum(d_scores * scores)())}};
  }

  Matrix image, text;
  double scale;
  Matrix scores;
};

/// 1 where two pairs are of one group; the identity without groups.
inline Matrix same_group(const Arrays& in, std::size_t batch) {
  if (!in.contains("group")) return xt::eye<double>(batch);
  const auto group = xt::adapt(in.at("group").values, {batch});
  return xt::where(
      xt::equal(xt::view(group, xt::all(), xt::newaxis()), xt::view(group, xt::newaxis(), xt::all())), 1.0,
      0.0);
}

}  // namespace vlp::test::literal
