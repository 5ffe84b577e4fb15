#include "support/catch.hpp"
#include "support/device.hpp"

#include <vlp/core/into.hpp>
#include <vlp/core/random.hpp>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/column_sums.cuh>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

namespace {

using namespace vlp::test;
using vlp::Index;
using vlp::Into;
using vlp::Random;
using vlp::cuda::Rows;
using vlp::cuda::detail::RunningColumnSums;

/// Integers, small enough that their sums are exact in any order, and NaN behind each row's last column.
std::vector<double> integers(Random& random, Index rows, Index columns, Index stride) {
  std::vector<double> out(static_cast<std::size_t>(rows * stride), std::numeric_limits<double>::quiet_NaN());
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < columns; ++j)
      out[static_cast<std::size_t>(i * stride + j)] = static_cast<double>(random.below(7)) - 3;
  return out;
}

/// The column sums of a matrix [rows, columns] in blocks of up to block_rows x block_columns, times -1.
template <class Scalar>
void check_sums(Index rows, Index columns, Index block_rows, Index block_columns, Into into) {
  CAPTURE(rows, columns, block_rows, block_columns, into);
  Random random(static_cast<std::uint64_t>(rows));
  const Index stride = vlp::cuda::whole_packs<Scalar>(columns) + vlp::cuda::pack_size<Scalar>;
  const std::vector<double> matrix = integers(random, rows, columns, stride);
  std::vector<Scalar> rounded(matrix.size());
  std::transform(matrix.begin(), matrix.end(), rounded.begin(), from_double<Scalar>);
  DeviceArray<Scalar> on_device(rounded);
  const auto size = static_cast<std::size_t>(columns);
  DeviceArray<Scalar> out(
      std::vector<Scalar>(size, into == Into::add ? from_double<Scalar>(5) : not_a_result<Scalar>()));
  DeviceArray<float> factor(std::vector<float>(1, 0.5F));

  vlp::Cuda device = make_device(2);
  {
    const vlp::Cuda::Call call(device);
    auto scratch = device.scratch().scope();
    const RunningColumnSums<Scalar> sums(scratch, rows, columns);
    for (Index row = 0; row < rows; row += block_rows)
      for (Index column = 0; column < columns; column += block_columns)
        sums.add(device, {on_device.data() + row * stride + column, std::min(block_rows, rows - row), stride},
                 row, column, std::min(block_columns, columns - column));
    sums.finish(device, -2, factor.data(), into, out.data());
  }
  device.synchronize();
  out.download();
  std::vector<double> want(size, into == Into::add ? 5 : 0), got;
  for (Index i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < size; ++j) want[j] -= matrix[static_cast<std::size_t>(i * stride) + j];
  for (const Scalar x : out.host()) got.push_back(to_double(x));
  CHECK(got == want);
}

}  // namespace

TEMPLATE_TEST_CASE("CUDA sums of columns in blocks", "", VLP_TEST_SCALARS) {
  check_sums<TestType>(1, 1, 128, 128, Into::overwrite);
  check_sums<TestType>(5, 300, 128, 128, Into::add);          // fewer rows than there are warps
  check_sums<TestType>(150, 261, 128, 256, Into::overwrite);  // blocks below each other, the last a small one
  check_sums<TestType>(2310, 37, 2304, 128, Into::overwrite);  // a thread has more rows than are read ahead
}
