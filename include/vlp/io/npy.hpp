/// \file
/// NumPy's .npy files: the array format in which test vectors and features travel.
/// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, versions 1 to 3.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/io/detail/byte_size.hpp>
#include <vlp/io/detail/npy_header.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace vlp::io {

/// An array as read from a file: shape, type and values, in row-major order and this machine's byte order.
class NpyArray {
 public:
  std::string path;          ///< where it was read, for messages
  std::vector<Index> shape;  ///< empty for a single number
  std::string dtype;         ///< kind and bytes per element, as NumPy writes them: "f8", "i4", "u1", "b1"
  std::string bytes;         ///< the elements

  /// Number of elements: the product of `shape`, 1 for a single number. Throws std::runtime_error, naming the
  /// file, for a shape that is none: a negative extent, or a product beyond Index.
  [[nodiscard]] Index size() const {
    const auto count = detail::byte_size(1, shape);
    ensure(count.has_value(), path, ": the shape of the array overflows or is negative");
    return static_cast<Index>(*count);
  }

  /// The elements as `T` (any number type), row-major. Converting to a floating-point type rounds; converting
  /// to an integer type throws std::runtime_error for the first element that it cannot hold exactly.
  template <class T>
  [[nodiscard]] std::vector<T> as() const;

 private:
  template <class To, class From>
  [[nodiscard]] std::vector<To> convert() const;
};

namespace detail {

/// Whether the integer type `To` holds `value` exactly.
template <class To, class From>
[[nodiscard]] bool holds(From value) {
  if constexpr (std::is_floating_point_v<From>) {
    // Both limits are powers of two (or zero), hence exact in floating point. NaN fails each comparison.
    const From low = static_cast<From>(std::numeric_limits<To>::min());
    const From high = std::ldexp(From{1}, std::numeric_limits<To>::digits);
    return value >= low && value < high && value == std::trunc(value);
  } else {
    return std::in_range<To>(value);
  }
}

/// NumPy's name of a number type: kind and size.
template <class T>
[[nodiscard]] std::string npy_dtype() {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8, "not a number type that .npy files know");
  const char kind = std::is_same_v<T, bool>       ? 'b'
                    : std::is_floating_point_v<T> ? 'f'
                    : std::is_signed_v<T>         ? 'i'
                                                  : 'u';
  return kind + std::to_string(sizeof(T));
}

/// Copies a column-major array into row-major order.
inline std::string to_row_major(std::string_view bytes, std::vector<Index> shape, std::size_t width) {
  std::erase(shape, 1);  // extents of 1 move nothing and cost time
  std::string out(bytes.size(), '\0');
  std::vector<Index> at(shape.size(), 0);
  for (std::size_t to = 0; to < out.size(); to += width) {
    Index from = 0, stride = 1;
    for (std::size_t d = 0; d < shape.size(); stride *= shape[d++]) from += at[d] * stride;
    std::memcpy(&out[to], &bytes[static_cast<std::size_t>(from) * width], width);
    for (std::size_t d = shape.size(); d-- > 0;) {
      if (++at[d] < shape[d]) break;
      at[d] = 0;
    }
  }
  return out;
}

}  // namespace detail

template <class To, class From>
std::vector<To> NpyArray::convert() const {
  std::vector<To> out(static_cast<std::size_t>(size()));
  ensure(bytes.size() == out.size() * sizeof(From), path, ": ", bytes.size(), " bytes hold no ", out.size(),
         " elements of type ", dtype);
  for (std::size_t i = 0; i < out.size(); ++i) {
    From value;
    std::memcpy(&value, bytes.data() + i * sizeof(From), sizeof(From));
    if constexpr (std::is_integral_v<To>)
      ensure(detail::holds<To>(value), path, ": element ", i, ", ", +value, ", is no value of type ",
             detail::npy_dtype<To>());
    out[i] = static_cast<To>(value);
  }
  return out;
}

template <class T>
std::vector<T> NpyArray::as() const {
  static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>,
                "ask for a number type; std::vector<bool> is not an array, use std::uint8_t");
  if (dtype == "f4") return convert<T, float>();
  if (dtype == "f8") return convert<T, double>();
  if (dtype == "i1") return convert<T, std::int8_t>();
  if (dtype == "i2") return convert<T, std::int16_t>();
  if (dtype == "i4") return convert<T, std::int32_t>();
  if (dtype == "i8") return convert<T, std::int64_t>();
  if (dtype == "u1" || dtype == "b1") return convert<T, std::uint8_t>();
  if (dtype == "u2") return convert<T, std::uint16_t>();
  if (dtype == "u4") return convert<T, std::uint32_t>();
  if (dtype == "u8") return convert<T, std::uint64_t>();
  throw std::runtime_error(printable(concat(path, ": elements of type '", dtype, "' are not supported")));
}

/// Reads a .npy file of numbers or booleans. Column-major (Fortran order) and foreign byte order are
/// converted. Throws std::runtime_error, naming the file, for a file that is missing, truncated, too long or
/// of another type.
[[nodiscard]] inline NpyArray read_npy(const Path& path) {
  const std::string file = read_file(path);
  const detail::NpyHeader header = detail::parse_npy_header(file, path.string());
  NpyArray array{path.string(), header.shape, header.dtype, file.substr(header.length)};
  const auto width = static_cast<std::size_t>(header.dtype[1] - '0');
  if (header.byte_swapped) {
    for (auto at = array.bytes.begin(); at != array.bytes.end(); at += static_cast<std::ptrdiff_t>(width))
      std::reverse(at, at + static_cast<std::ptrdiff_t>(width));
  }
  if (header.fortran_order && array.shape.size() > 1)
    array.bytes = detail::to_row_major(array.bytes, array.shape, width);
  return array;
}

/// Writes `values`, row-major, as an array of extents `shape` (none for a single number), atomically. Throws
/// std::invalid_argument when `shape` does not fit, std::runtime_error when the file cannot be written.
template <class T>
void write_npy(const Path& path, std::span<const T> values, std::span<const Index> shape) {
  require(shape.size() <= detail::max_npy_dimensions, "write_npy: ", shape.size(),
          " dimensions, but .npy has ", detail::max_npy_dimensions, " at most");
  const auto size = detail::byte_size(1, shape);
  require(size.has_value(), "write_npy: a shape of ", shape.size(), " extents that overflows or is negative");
  require(*size == values.size(), "write_npy: shape of ", *size, " elements for ", values.size(), " values");
  const std::string header = detail::make_npy_header(detail::npy_dtype<T>(), shape);
  const std::string_view pieces[] = {
      header, {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)}};
  write_file(path, pieces);
}

template <class T>
void write_npy(const Path& path, const std::vector<T>& values, const std::vector<Index>& shape) {
  write_npy(path, std::span<const T>(values), std::span<const Index>(shape));
}

/// Writes a view of any rank and strides.
template <class T, std::size_t Rank>
void write_npy(const Path& path, const View<T, Rank>& view) {
  using Value = std::remove_const_t<T>;
  require(view.given() || view.size() == 0, "write_npy: a view without data");
  const auto size = static_cast<std::size_t>(view.size());
  const std::span<const Index> shape(view.extents());
  if (view.contiguous()) return write_npy(path, std::span<const Value>(view.data(), size), shape);
  std::vector<Value> values(size);
  auto at = values.begin();
  const auto copy = [&at](const auto& self, const auto& part) -> void {
    for (Index i = 0; i < part.extent(0); ++i) {
      if constexpr (std::remove_cvref_t<decltype(part)>::rank == 1)
        *at++ = part[i];
      else
        self(self, part[i]);
    }
  };
  copy(copy, view);
  write_npy(path, std::span<const Value>(values), shape);
}

}  // namespace vlp::io
