/// \file
/// What layers check before they write: shapes and offsets.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/view.hpp>

#include <span>
#include <string_view>

namespace vlp::nn::detail {

template <class T>
void check_matrix(std::string_view layer, std::string_view name, const MatrixView<T>& matrix, Index rows,
                  Index cols) {
  require(matrix.rows() == rows && matrix.cols() == cols, layer, ": ", name, " is ", matrix.rows(), " x ",
          matrix.cols(), " but must be ", rows, " x ", cols);
}

template <class T>
void check_columns(std::string_view layer, std::string_view name, const MatrixView<T>& matrix, Index cols) {
  require(matrix.cols() == cols, layer, ": ", name, " has ", matrix.cols(), " columns but must have ", cols);
}

inline void check_positive(std::string_view layer, std::string_view name, Index value) {
  require(value >= 1, layer, ": ", name, " must be at least 1, but is ", value);
}

/// Sequences of tokens [offsets[s], offsets[s + 1]) that together are [0, tokens).
inline void check_offsets(std::string_view layer, std::span<const Index> offsets, Index tokens) {
  require(!offsets.empty() && offsets.front() == 0, layer, ": offsets must start with 0");
  for (std::size_t s = 0; s + 1 < offsets.size(); ++s)
    require(offsets[s] <= offsets[s + 1], layer, ": offsets must not fall, but sequence ", s, " is from ",
            offsets[s], " to ", offsets[s + 1]);
  require(offsets.back() == tokens, layer, ": offsets end at ", offsets.back(), " but there are ", tokens,
          " tokens");
}

}  // namespace vlp::nn::detail
