/// \file
/// Checks that several losses make of their arguments. Each throws std::invalid_argument.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/view.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

namespace vlp::detail {

/// "3 x 4 x 5"
template <class T, std::size_t Rank>
std::string extents_text(const View<T, Rank>& view) {
  std::string out;
  for (Index extent : view.extents()) out += (out.empty() ? "" : " x ") + std::to_string(extent);
  return out;
}

/// An input is there and has something along each dimension.
template <class T, std::size_t Rank>
void check_input(std::string_view loss, std::string_view name, const View<T, Rank>& input) {
  for (Index extent : input.extents())
    require(extent > 0, loss, ": ", name, " is ", extents_text(input),
            ", but every extent must be at least 1");
  require(!input.empty(), loss, ": ", name, " has no data");
}

/// A gradient is skipped or of its input's extents.
template <class T, std::size_t Rank>
void check_gradient(std::string_view loss, std::string_view name,
                    const View<std::type_identity_t<T>, Rank>& gradient, const View<const T, Rank>& input) {
  require(gradient.empty() || gradient.extents() == input.extents(), loss, ": the gradient of ", name, " is ",
          extents_text(gradient), " but ", name, " is ", extents_text(input));
}

/// Embeddings of pairs, both [B, D], and a scale.
template <class Scalar, class Accumulator>
void check_pairs(std::string_view loss, const View<const Scalar, 2>& image, const View<const Scalar, 2>& text,
                 const Accumulator* log_scale) {
  check_input(loss, "image", image);
  check_input(loss, "text", text);
  require(image.extents() == text.extents(), loss, ": image is ", extents_text(image), " but text is ",
          extents_text(text));
  require(log_scale != nullptr, loss, ": log_scale is not given");
}

}  // namespace vlp::detail
