/// \file
/// The elements of a list of parameters, cut into pieces of work.
#pragma once

#include <vlp/core/parameter.hpp>

#include <algorithm>
#include <vector>

namespace vlp::optim::detail {

/// Elements [begin, end) of parameter number `parameter`.
struct Piece {
  std::size_t parameter;
  Index begin, end;
};

/// All elements of the list in runs of at most 16K: one parallel loop serves all parameters, large and small,
/// and cuts that depend on the list alone keep sums over it the same for any number of threads.
template <class Scalar, class Device>
std::vector<Piece> cut_into_pieces(const ParameterList<Scalar, Device>& list) {
  constexpr Index run = 16384;
  std::vector<Piece> pieces;
  for (std::size_t p = 0; p < list.size(); ++p)
    for (Index begin = 0; begin < list[p].parameter->size(); begin += run)
      pieces.push_back({p, begin, std::min(begin + run, list[p].parameter->size())});
  return pieces;
}

}  // namespace vlp::optim::detail
