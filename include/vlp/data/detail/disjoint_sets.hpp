/// \file
/// Sets that only ever grow together.
#pragma once

#include <cstddef>
#include <numeric>
#include <vector>

namespace vlp::data::detail {

/// The elements 0 to count - 1, each in a set of its own at first (union-find, with path halving).
class DisjointSets {
 public:
  explicit DisjointSets(std::size_t count) : parent_(count) {
    std::iota(parent_.begin(), parent_.end(), std::size_t{0});
  }

  /// The least element of the set of `element`.
  [[nodiscard]] std::size_t find(std::size_t element) {
    while (parent_[element] != element) element = parent_[element] = parent_[parent_[element]];
    return element;
  }
  /// Makes one set of the sets of both elements.
  void unite(std::size_t a, std::size_t b) {
    a = find(a);
    b = find(b);
    parent_[a < b ? b : a] = a < b ? a : b;
  }

 private:
  std::vector<std::size_t> parent_;  // never above the element itself
};

}  // namespace vlp::data::detail
