/// \file
/// Extents of arrays: their product, which must fit an Index, and how messages show them.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>

#include <array>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>

namespace vlp::detail {

/// "3 x 4 x 5"
template <class Extents>
std::string extents_text(const Extents& extents) {
  std::string out;
  for (Index extent : extents) out += (out.empty() ? "" : " x ") + std::to_string(extent);
  return out;
}

/// The product of extents. Throws std::invalid_argument, naming `what`, for a negative extent and for a
/// product that no Index holds. Extents of 0 do not excuse the others: strides are products of some of them.
template <class Extents>
constexpr Index checked_size(std::string_view what, const Extents& extents) {
  Index size = 1;
  bool is_empty = false, fits = true;
  for (const Index extent : extents) {
    is_empty = is_empty || extent == 0;
    if (extent == 0) continue;
#ifdef __GNUC__
    fits = fits && extent > 0 && !__builtin_mul_overflow(size, extent, &size);
#else
    fits = fits && extent > 0 && size <= std::numeric_limits<Index>::max() / extent;
    if (fits) size *= extent;
#endif
  }
  if (!fits) [[unlikely]]
    throw std::invalid_argument(concat(what, ": the extents are ", extents_text(extents),
                                       ", but each must be at least 0 and their product below 2^63"));
  return is_empty ? 0 : size;
}

/// The bytes of `count` elements of type T, with room for sums of a few such numbers. Throws
/// std::invalid_argument for a negative count and for more bytes than any memory has.
template <class T>
constexpr std::size_t checked_bytes(std::string_view what, Index count) {
  constexpr Index most = std::numeric_limits<Index>::max() / 4 / static_cast<Index>(sizeof(T));
  if (count < 0 || count > most) [[unlikely]]
    throw std::invalid_argument(
        concat(what, ": there is no memory of ", count, " elements of ", sizeof(T), " bytes"));
  return static_cast<std::size_t>(count) * sizeof(T);
}

}  // namespace vlp::detail
