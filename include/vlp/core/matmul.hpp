/// \file
/// The matrix product: its one home on the CPU.
#pragma once

#include <Eigen/Core>

#include <vlp/core/cpu.hpp>
#include <vlp/core/detail/blas.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/op.hpp>
#include <vlp/core/view.hpp>

#include <algorithm>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>

namespace vlp {

/// Name of the library that computes products: "Eigen 3.4.0", or the BLAS that vlp was configured with.
inline std::string matmul_backend() {
#ifdef VLP_USE_BLAS
  return std::string(detail::BlasThreads::version());
#else
  return concat("Eigen ", EIGEN_WORLD_VERSION, '.', EIGEN_MAJOR_VERSION, '.', EIGEN_MINOR_VERSION);
#endif
}

namespace detail {

/// Own threads of Eigen and of the BLAS stay out of our products: vlp cuts the work itself, so that results
/// do not depend on the number of threads. Those numbers of threads are one each for the whole process, so
/// the first of several SerialProducts that live at once, whatever threads they live on, sets them and the
/// last puts them back.
class SerialProducts {
 public:
  SerialProducts() {
    Shared& shared = state();
    const std::lock_guard lock(shared.mutex);
    if (shared.alive++ > 0) return;
    shared.eigen = Eigen::nbThreads();
    if (shared.eigen != 1) Eigen::setNbThreads(1);
#ifdef VLP_USE_BLAS
    shared.blas = BlasThreads::get();
    if (shared.blas != 1) BlasThreads::set(1);
#endif
  }
  SerialProducts(const SerialProducts&) = delete;
  SerialProducts& operator=(const SerialProducts&) = delete;
  ~SerialProducts() {
    Shared& shared = state();
    const std::lock_guard lock(shared.mutex);
    if (--shared.alive > 0) return;
    if (shared.eigen != 1) Eigen::setNbThreads(shared.eigen);
#ifdef VLP_USE_BLAS
    if (shared.blas != 1) BlasThreads::set(shared.blas);
#endif
  }

 private:
  struct Shared {
    std::mutex mutex;
    Index alive = 0;
    int eigen = 1, blas = 1;  // threads before
  };
  static Shared& state() {
    static Shared shared;
    return shared;
  }
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
#ifdef VLP_USE_BLAS
  if (fits_blas(a) && fits_blas(b) && fits_blas(c))
    return gemm<Scalar>(a, op_a == Op::transpose, b, op_b == Op::transpose, c, alpha, beta);
#endif
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

/// Computes the lower triangle of c = op(a) op(b) + beta c, where the product and c are symmetric [N, N], on
/// the calling thread: panels of rows, each up to its last diagonal element. mirror_lower completes it.
template <class Scalar>
void symmetric_matmul_serial(MatrixView<const Scalar> a, Op op_a, MatrixView<const Scalar> b, Op op_b,
                             MatrixView<Scalar> c, Scalar beta) {
  const Index n = c.rows(), depth = op_a == Op::none ? a.cols() : a.rows();
  const Index panels = (n + 63) / 64;
  for (Index p = 0; p < panels; ++p) {
    const Index begin = p * n / panels, end = (p + 1) * n / panels;
    matmul_serial<Scalar>(
        op_a == Op::none ? a.slice(begin, end - begin) : block(a, 0, begin, depth, end - begin), op_a,
        op_b == Op::none ? block(b, 0, 0, depth, end) : b.slice(0, end), op_b,
        block(c, begin, 0, end - begin, end), 1, beta);
  }
}

/// Copies the lower triangle of a matrix to the upper one.
template <class Scalar>
void mirror_lower(MatrixView<Scalar> matrix) {
  for (Index i = 0; i < matrix.rows(); ++i)
    for (Index j = i + 1; j < matrix.cols(); ++j) matrix(i, j) = matrix(j, i);
}

/// The cuts of a product into pieces of work, by its shape alone: tiles of c, and where those are too few for
/// every core (a weight gradient: small c, long K) runs of K whose partial products are summed in order.
struct ProductCuts {
  Index rows, cols;  // of a tile of c
  Index run;         // of K
  Index row_tiles, col_tiles, runs;

  ProductCuts(Index m, Index n, Index k) : rows(256), cols(512), run(k), runs(1) {
    // 256 x 512 outputs a tile: large enough that packing an operand (one pass over it per tile) is lost in
    // the 2K flop per output. Fewer rows when that leaves fewer than eight tiles, down to 64.
    constexpr Index enough = 8;
    col_tiles = pieces(n, cols);
    if (k < 2 * shortest_run || pieces(m, rows) * col_tiles >= enough) {
      while (rows > 64 && pieces(m, rows) * col_tiles < enough) rows /= 2;
    } else {
      runs = std::min<Index>(k / shortest_run, 16);
      run = pieces(k, runs);
      runs = pieces(k, run);
    }
    row_tiles = pieces(m, rows);
  }

 private:
  static constexpr Index shortest_run = 512;
  static Index pieces(Index whole, Index piece) { return (whole + piece - 1) / piece; }
};

/// c = beta c + the sum over r of partial[r], in that order.
template <class Scalar>
void add_partial_products(Cpu& device, const Scalar* partial, Index runs, MatrixView<Scalar> c, Scalar beta) {
  using Row = Eigen::Map<Eigen::Array<Scalar, Eigen::Dynamic, 1>>;
  using ConstRow = Eigen::Map<const Eigen::Array<Scalar, Eigen::Dynamic, 1>>;
  const Index n = c.cols();
  device.parallel_ranges(
      c.rows(), std::max<Index>(1, 16384 / std::max<Index>(1, n)), [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) {
          Row out(c.data() + i * c.stride(0), n);
          const auto row_of = [&](Index r) { return ConstRow(partial + (r * c.rows() + i) * n, n); };
          if (beta == Scalar(0))
            out = row_of(0);
          else
            out = beta * out + row_of(0);
          for (Index r = 1; r < runs; ++r) out += row_of(r);
        }
      });
}

}  // namespace detail

/// c = alpha op(a) op(b) + beta c, with op(a) [M, K], op(b) [K, N], c [M, N]. With beta = 0, c is overwritten
/// whatever it held. c must not overlap a or b. Work is cut by shape alone, so the result does not depend on
/// the number of threads. Inside a parallel_for, use detail::matmul_serial.
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

  const detail::SerialProducts serial;
  const detail::ProductCuts cuts(m, n, k);
  auto scratch = device.scratch().scope();
  Scalar* partial = cuts.runs > 1 ? scratch.template take<Scalar>(cuts.runs * m * n) : nullptr;
  device.parallel_for(cuts.runs * cuts.row_tiles * cuts.col_tiles, [&](Index task, int) {
    const Index tile = task % (cuts.row_tiles * cuts.col_tiles), r = task / (cuts.row_tiles * cuts.col_tiles);
    const Index i = tile / cuts.col_tiles * cuts.rows, j = tile % cuts.col_tiles * cuts.cols;
    const Index rows = std::min(cuts.rows, m - i), cols = std::min(cuts.cols, n - j);
    const Index l = r * cuts.run, depth = std::min(cuts.run, k - l);
    const auto a_tile =
        op_a == Op::none ? detail::block(a, i, l, rows, depth) : detail::block(a, l, i, depth, rows);
    const auto b_tile =
        op_b == Op::none ? detail::block(b, l, j, depth, cols) : detail::block(b, j, l, cols, depth);
    const MatrixView<Scalar> out = partial ? MatrixView<Scalar>(partial + r * m * n, {m, n}) : c;
    detail::matmul_serial<Scalar>(a_tile, op_a, b_tile, op_b, detail::block(out, i, j, rows, cols), alpha,
                                  partial ? Scalar(0) : beta);
  });
  if (partial) detail::add_partial_products<Scalar>(device, partial, cuts.runs, c, beta);
}

}  // namespace vlp
