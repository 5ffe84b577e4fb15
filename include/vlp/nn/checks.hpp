/// \file
/// Checks that layers make before they write.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/sequences.hpp>

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

/// The rows of a matrix are the tokens of the sequences.
template <class Device>
void check_tokens(std::string_view layer, std::string_view name, const Sequences<Device>& sequences,
                  Index rows) {
  require(sequences.tokens() == rows, layer, ": ", name, " has ", rows, " rows but the sequences have ",
          sequences.tokens(), " tokens");
}

}  // namespace vlp::nn::detail
