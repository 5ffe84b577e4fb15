/// \file
/// Logits of the next token on the host, and the probabilities that they stand for.
#pragma once

#include <vlp/core/detail/extents.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace vlp::models::detail {

/// The scalar of a token model's logits.
template <class Model, class Device>
using ScalarOf = typename decltype(std::declval<Model&>().next(
    std::declval<Device&>(), std::span<const Index>(), std::span<const std::int32_t>()))::value_type;

/// The logarithms of the probabilities that logits stand for: x[i] - log(sum exp(x)), at most 0. Throws
/// std::runtime_error where a logit is NaN or positive infinity, or all are negative infinity.
template <class Scalar>
void log_softmax(std::span<const Scalar> logits, std::vector<double>& out) {
  out.assign(logits.begin(), logits.end());
  const double largest = out.empty() ? 0 : *std::ranges::max_element(out);
  double sum = 0;
  for (const double x : out) sum += std::exp(x - largest);
  ensure(std::isfinite(sum), "the logits of the next token are not finite");
  const double log_sum = std::log(sum);
  for (double& x : out) x = x - largest - log_sum;
}

/// Copies logits [texts, V] to the host. Throws std::invalid_argument for another number of texts or rows
/// that do not follow one another.
template <class Scalar, class Device>
void download_logits(Device& device, const MatrixView<const Scalar>& logits, std::size_t texts,
                     std::vector<Scalar>& host) {
  require(logits.rows() == static_cast<Index>(texts) && logits.cols() > 0 && logits.contiguous(),
          "token model: logits are ", vlp::detail::extents_text(logits.extents()), " for ", texts, " texts");
  host.resize(static_cast<std::size_t>(logits.size()));
  download(device, logits.data(), std::span(host));
}

}  // namespace vlp::models::detail
