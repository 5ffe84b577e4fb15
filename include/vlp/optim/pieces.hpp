/// \file
/// A list of parameters as an optimiser sees it: cut into pieces of work, with arrays of state beside it.
#pragma once

#include <vlp/core/device.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/optim/ops/operations.hpp>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace vlp::optim::detail {

/// All elements of the list in runs of at most 16K: one parallel loop serves all parameters, large and small.
/// In an array of state each parameter begins at a multiple of 64 bytes.
template <class Scalar, class Device>
std::vector<Piece<Scalar>> cut_into_pieces(const ParameterList<Scalar, Device>& list) {
  constexpr Index run = 16384;
  std::vector<Piece<Scalar>> pieces;
  Index state = 0;
  for (const auto& named : list) {
    const auto& parameter = *named.parameter;
    const auto value = parameter.value(), gradient = parameter.gradient();
    for (Index begin = 0; begin < parameter.size(); begin += run)
      pieces.push_back({value.data() + begin, gradient.data() + begin,
                        std::min(run, parameter.size() - begin), state + begin, parameter.weight_decay()});
    state += vlp::detail::padded_size<Scalar>(parameter.size());
  }
  return pieces;
}

/// The pieces of a list and `Arrays` arrays of state for it, in device memory.
template <class Scalar, class Device, std::size_t Arrays>
class State {
 public:
  /// State of zeros. `suffixes` name the arrays.
  State(Device& device, ParameterList<Scalar, Device> list, const std::array<const char*, Arrays>& suffixes)
      : list_(std::move(list)), suffixes_(suffixes) {
    const std::vector<Piece<Scalar>> pieces = cut_into_pieces(list_);
    upload(device, std::span<const Piece<Scalar>>(pieces), pieces_.resize(static_cast<Index>(pieces.size())));
    Index size = 0;
    for (const auto& named : list_) size += vlp::detail::padded_size<Scalar>(named.parameter->size());
    for (auto& array : arrays_) fill(device, array.resize(size), size, Scalar(0));
  }

  [[nodiscard]] Pieces<Scalar> pieces() const { return {pieces_.data(), {pieces_.size()}}; }
  [[nodiscard]] Scalar* array(std::size_t i) const { return arrays_[i].data(); }

  /// Calls visit(name, extents, view) for each parameter's part of each array.
  template <class Visit>
  void for_each(Visit&& visit) {
    Index at = 0;
    for (const auto& [name, parameter] : list_) {
      for (std::size_t i = 0; i < Arrays; ++i)
        visit(name + suffixes_[i], parameter->extents(),
              VectorView<Scalar>(array(i) + at, {parameter->size()}));
      at += vlp::detail::padded_size<Scalar>(parameter->size());
    }
  }

 private:
  ParameterList<Scalar, Device> list_;
  std::array<const char*, Arrays> suffixes_;
  typename Device::template Buffer<Piece<Scalar>> pieces_;
  std::array<typename Device::template Buffer<Scalar>, Arrays> arrays_;
};

}  // namespace vlp::optim::detail
