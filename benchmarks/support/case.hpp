/// \file
/// Shapes and inputs that a loss is timed on, on any device.
#pragma once

#include <vlp/core/random.hpp>
#include <vlp/core/scalar.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace vlp::benchmarks {

/// How elements are drawn.
enum class Draw {
  normal,    ///< `number` times standard normal values
  constant,  ///< `number` everywhere
  integers,  ///< uniform whole numbers in [0, number)
  given      ///< `values`, as they are
};

/// The shape of an input and how its elements are drawn.
struct Array {
  std::vector<Index> shape;  ///< {} for a single number
  Draw how = Draw::normal;
  double number = 1;
  std::vector<double> values = {};  ///< for Draw::given, as many as there are elements

  [[nodiscard]] Index size() const {
    Index out = 1;
    for (Index extent : shape) out *= extent;
    return out;
  }

  /// Element i; they are drawn in order.
  [[nodiscard]] double draw(Random& random, Index i) const {
    if (how == Draw::given) return values[static_cast<std::size_t>(i)];
    if (how == Draw::constant) return number;
    if (how == Draw::integers) return static_cast<double>(random.below(static_cast<std::uint32_t>(number)));
    return number * static_cast<double>(random.normal());
  }
};
using Arrays = std::map<std::string, Array, std::less<>>;

/// `scale` times standard normal values.
inline Array normal(std::vector<Index> shape, double scale = 1) {
  return {std::move(shape), Draw::normal, scale};
}

/// One number, or the same everywhere.
inline Array constant(double value, std::vector<Index> shape = {}) {
  return {std::move(shape), Draw::constant, value};
}

/// Uniform whole numbers in [0, count).
inline Array integers(std::vector<Index> shape, Index count) {
  return {std::move(shape), Draw::integers, static_cast<double>(count)};
}

/// A vector of these values.
inline Array given(std::vector<double> values) {
  const auto count = static_cast<Index>(values.size());
  return {{count}, Draw::given, 1, std::move(values)};
}

/// One shape of a loss and the least work that it takes.
struct Case {
  std::vector<std::pair<std::string, Index>> sizes;  ///< as they stand in the benchmark's name
  Arrays arrays;
  double flop = 0;      ///< of the products of a forward and a backward; 0: not counted
  double elements = 0;  ///< read and written by both, for a loss bound by memory; 0: not counted
  std::string variant = {};
  double least_flop = 0;  ///< of the floor that a bar refers to, where it is not `flop`
};

/// Runs its argument before main: `const AtStart losses([] { add<...>(...); });`
struct AtStart {
  template <class Function>
  explicit AtStart(Function function) {
    function();
  }
};

inline double as_double(Index value) {
  return static_cast<double>(value);
}

}  // namespace vlp::benchmarks
