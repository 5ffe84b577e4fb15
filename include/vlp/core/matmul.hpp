/// \file
/// The matrix product: its one home on the CPU.
#pragma once

#include <Eigen/Core>

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/view.hpp>

#include <algorithm>

namespace vlp {

/// Whether an operand is used as it is or transposed.
enum class Op { none, transpose };

namespace detail {

/// Eigen's own OpenMP threads stay out of our products: vlp cuts the work itself, so that results do not
/// depend on the number of threads. Costs one read of a variable when Eigen is serial already.
class SerialEigen {
 public:
  SerialEigen() : before_(Eigen::nbThreads()) {
    if (before_ != 1) Eigen::setNbThreads(1);
  }
  SerialEigen(const SerialEigen&) = delete;
  SerialEigen& operator=(const SerialEigen&) = delete;
  ~SerialEigen() {
    if (before_ != 1) Eigen::setNbThreads(before_);
  }

 private:
  int before_;
};

template <class T>
using RowMajor = Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A view as an Eigen map.
template <class T>
auto as_eigen(const MatrixView<T>& view) {
  using Matrix = std::conditional_t<std::is_const_v<T>, const RowMajor<T>, RowMajor<T>>;
  return Eigen::Map<Matrix, Eigen::Unaligned, Eigen::OuterStride<>>(view.data(), view.rows(), view.cols(),
                                                                    Eigen::OuterStride<>(view.stride(0)));
}

/// A block of a matrix view.
template <class T>
MatrixView<T> block(const MatrixView<T>& view, Index row, Index col, Index rows, Index cols) {
  return MatrixView<T>(view.data() + row * view.stride(0) + col, {rows, cols}, view.strides());
}

/// c = alpha op(a) op(b) + beta c on the calling thread. beta = 0 overwrites c, whatever it held.
template <class Scalar>
void matmul_serial(MatrixView<const Scalar> a, Op op_a, MatrixView<const Scalar> b, Op op_b,
                   MatrixView<Scalar> c, Scalar alpha, Scalar beta) {
  auto out = as_eigen(c);
  if (beta == Scalar(0))
    out.setZero();
  else if (beta != Scalar(1))
    out *= beta;
  const auto accumulate = [&](const auto& left, const auto& right) {
    out.noalias() += alpha * (left * right);
  };
  const auto left = as_eigen(a);
  const auto right = as_eigen(b);
  if (op_a == Op::none && op_b == Op::none)
    accumulate(left, right);
  else if (op_a == Op::none)
    accumulate(left, right.transpose());
  else if (op_b == Op::none)
    accumulate(left.transpose(), right);
  else
    accumulate(left.transpose(), right.transpose());
}

}  // namespace detail

/// c = alpha op(a) op(b) + beta c, with op(a) [M, K], op(b) [K, N], c [M, N]. With beta = 0, c is overwritten
/// whatever it held. c must not overlap a or b. Work is cut into tiles of c by shape alone, so the result
/// does not depend on the number of threads. Inside a parallel_for, use detail::matmul_serial.
template <class Scalar>
void matmul(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> a, Op op_a,
            std::type_identity_t<MatrixView<const Scalar>> b, Op op_b, MatrixView<Scalar> c,
            std::type_identity_t<Scalar> alpha = 1, std::type_identity_t<Scalar> beta = 0) {
  const Index m = op_a == Op::none ? a.rows() : a.cols();
  const Index k = op_a == Op::none ? a.cols() : a.rows();
  const Index n = op_b == Op::none ? b.cols() : b.rows();
  const Index k_b = op_b == Op::none ? b.rows() : b.cols();
  require(k == k_b, "matmul: op(a) has ", k, " columns but op(b) has ", k_b, " rows");
  require(c.rows() == m && c.cols() == n, "matmul: the product is ", m, " x ", n, " but c is ", c.rows(),
          " x ", c.cols());

  const detail::SerialEigen serial;
  // 256 x 512 outputs a tile: large enough that packing an operand (one pass over it per tile) is lost in the
  // 2K flop per output, small enough that a training step's products give every core several tiles.
  constexpr Index tile_rows = 256, tile_cols = 512;
  const Index row_tiles = (m + tile_rows - 1) / tile_rows, col_tiles = (n + tile_cols - 1) / tile_cols;
  device.parallel_for(row_tiles * col_tiles, [&](Index tile, int) {
    const Index i = tile / col_tiles * tile_rows, j = tile % col_tiles * tile_cols;
    const Index rows = std::min(tile_rows, m - i), cols = std::min(tile_cols, n - j);
    const auto a_tile = op_a == Op::none ? detail::block(a, i, 0, rows, k) : detail::block(a, 0, i, k, rows);
    const auto b_tile = op_b == Op::none ? detail::block(b, 0, j, k, cols) : detail::block(b, j, 0, cols, k);
    detail::matmul_serial<Scalar>(a_tile, op_a, b_tile, op_b, detail::block(c, i, j, rows, cols), alpha,
                                  beta);
  });
}

}  // namespace vlp
