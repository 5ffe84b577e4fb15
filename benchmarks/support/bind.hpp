/// \file
/// Points the members of a loss's Inputs and Gradients to memory, whatever the loss.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/view.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace vlp::benchmarks {

/// The type of an input's or a gradient's elements.
template <class T, std::size_t Rank>
T element_of(const View<T, Rank>&);
template <class T>
T element_of(const std::span<T>&);
template <class T>
T element_of(T* const&);
template <class Member>
using ElementOf = std::remove_const_t<decltype(element_of(std::declval<const Member&>()))>;

/// Points `member` to contiguous memory of that shape; a single number has the shape {}. Throws
/// std::invalid_argument where the number of dimensions is another.
template <class T, std::size_t Rank>
void point(std::string_view name, View<T, Rank>& member, void* memory, const std::vector<Index>& shape) {
  require(shape.size() == Rank, name, ": ", shape.size(), " dimensions are given, but it has ", Rank);
  std::array<Index, Rank> extents{};
  std::copy(shape.begin(), shape.end(), extents.begin());
  member = View<T, Rank>(static_cast<T*>(memory), extents);
}

template <class T>
void point(std::string_view name, std::span<T>& member, void* memory, const std::vector<Index>& shape) {
  require(shape.size() == 1, name, ": ", shape.size(), " dimensions are given, but it has 1");
  member = {static_cast<T*>(memory), static_cast<std::size_t>(shape[0])};
}

template <class T>
void point(std::string_view name, T*& member, void* memory, const std::vector<Index>& shape) {
  require(shape.empty(), name, ": ", shape.size(), " dimensions are given, but it is a single number");
  member = static_cast<T*>(memory);
}

/// Forward and then backward, by the one call that does both where the loss has it.
template <class L>
void forward_backward(L& loss, typename L::Device& device, const typename L::Inputs& inputs,
                      const typename L::Outputs& outputs, const typename L::Gradients& gradients) {
  constexpr typename L::Accumulator upstream = 1;
  if constexpr (requires { loss.forward_backward(device, inputs, upstream, outputs, gradients); }) {
    loss.forward_backward(device, inputs, upstream, outputs, gradients);
  } else {
    loss.forward(device, inputs, outputs);
    loss.backward(device, inputs, upstream, gradients);
  }
}

}  // namespace vlp::benchmarks
