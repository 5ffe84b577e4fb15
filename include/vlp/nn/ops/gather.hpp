/// \file
/// Device operations: rows picked by number, and sums over the rows that share a number.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/ops/rows.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <type_traits>

namespace vlp {

/// Whether rows that belong together are added up or averaged.
enum class Pooling { sum, mean };

namespace nn::detail {

/// The members of each group: those of group g are order[starts[g]] to order[starts[g + 1] - 1], ascending.
struct Groups {
  const Index* starts;
  const Index* order;
  [[nodiscard]] Index size(Index g) const { return starts[g + 1] - starts[g]; }
};

/// Sorts the indices of `group` by their group in [0, groups) (a counting sort); negative groups are left
/// out.
inline Groups sort_by_group(Arena::Scope& scope, std::span<const std::int32_t> group, Index groups) {
  Index* starts = scope.take<Index>(groups + 2);
  Index* order = scope.take<Index>(static_cast<Index>(group.size()));
  std::fill_n(starts, groups + 2, Index(0));
  for (std::int32_t g : group)
    if (g >= 0) ++starts[g + 2];
  for (Index g = 2; g < groups + 2; ++g) starts[g] += starts[g - 1];
  for (std::size_t t = 0; t < group.size(); ++t)
    if (group[t] >= 0) order[starts[group[t] + 1]++] = static_cast<Index>(t);
  return {starts, order};
}

}  // namespace nn::detail

/// out[g] = (or +=) the sum (mean) of the rows x[t] with group[t] = g, in ascending order of t; zeros for a
/// group without rows. x [T, D], out [G, D], group [T] in [-1, G), where -1 leaves the row out.
template <class Scalar>
void pool_groups(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> x,
                 std::span<const std::int32_t> group, Pooling pooling,
                 std::type_identity_t<MatrixView<Scalar>> out, Into into) {
  auto scope = device.scratch().scope();
  const nn::detail::Groups groups = nn::detail::sort_by_group(scope, group, out.rows());
  device.parallel_ranges(out.rows(), 64, [&](Index begin, Index end) {
    for (Index g = begin; g < end; ++g) {
      const Index count = groups.size(g);
      if (count == 0 && into == Into::add) continue;
      auto sum = nn::detail::row(out, g);
      if (into == Into::overwrite) sum.setZero();
      const Scalar weight = pooling == Pooling::mean ? Scalar(1) / static_cast<Scalar>(count) : Scalar(1);
      for (Index i = groups.starts[g]; i < groups.starts[g + 1]; ++i)
        sum += weight * nn::detail::row(x, groups.order[i]);
    }
  });
}

/// The gradient of pool_groups: dx[t] = dout[group[t]] (divided by the group's size for means), zero for
/// group -1.
template <class Scalar>
void pool_groups_gradient(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> dout,
                          std::span<const std::int32_t> group, Pooling pooling,
                          std::type_identity_t<MatrixView<Scalar>> dx) {
  auto scope = device.scratch().scope();
  const nn::detail::Groups groups = nn::detail::sort_by_group(scope, group, dout.rows());
  device.parallel_ranges(dx.rows(), nn::detail::row_grain(dx.cols()), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) {
      const Index g = group[static_cast<std::size_t>(t)];
      auto gradient = nn::detail::row(dx, t);
      if (g < 0)
        gradient.setZero();
      else if (pooling == Pooling::mean)
        gradient = nn::detail::row(dout, g) * (Scalar(1) / static_cast<Scalar>(groups.size(g)));
      else
        gradient = nn::detail::row(dout, g);
    }
  });
}

/// out[t] = words[ids[t]] + positions[t's place in its sequence] + types[type_ids[t]] (types[0] where
/// type_ids is empty), for sequences of tokens [offsets[s], offsets[s + 1]). Tables [V, D], [P, D], [K, D],
/// out [T, D].
template <class Scalar>
void embed_tokens(Cpu& device, std::span<const std::int32_t> ids, std::span<const std::int32_t> type_ids,
                  std::span<const Index> offsets, std::type_identity_t<MatrixView<const Scalar>> words,
                  std::type_identity_t<MatrixView<const Scalar>> positions,
                  std::type_identity_t<MatrixView<const Scalar>> types,
                  std::type_identity_t<MatrixView<Scalar>> out) {
  using nn::detail::row;
  device.parallel_for(static_cast<Index>(offsets.size()) - 1, [&](Index s, int) {
    const Index begin = offsets[static_cast<std::size_t>(s)], end = offsets[static_cast<std::size_t>(s) + 1];
    for (Index t = begin; t < end; ++t) {
      const auto token = static_cast<std::size_t>(t);
      row(out, t) = row(words, ids[token]) + row(positions, t - begin) +
                    row(types, type_ids.empty() ? 0 : type_ids[token]);
    }
  });
}

/// x[t] += positions[t's place in its sequence], for sequences as in embed_tokens.
template <class Scalar>
void add_positions(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> positions,
                   std::span<const Index> offsets, std::type_identity_t<MatrixView<Scalar>> x) {
  device.parallel_for(static_cast<Index>(offsets.size()) - 1, [&](Index s, int) {
    const Index begin = offsets[static_cast<std::size_t>(s)], end = offsets[static_cast<std::size_t>(s) + 1];
    for (Index t = begin; t < end; ++t) nn::detail::row(x, t) += nn::detail::row(positions, t - begin);
  });
}

/// y[i] = x[rows[i]] for y [rows.size(), D].
template <class Scalar>
void gather_rows(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> x, std::span<const Index> rows,
                 std::type_identity_t<MatrixView<Scalar>> y) {
  device.parallel_ranges(y.rows(), nn::detail::row_grain(y.cols()), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      nn::detail::row(y, i) = nn::detail::row(x, rows[static_cast<std::size_t>(i)]);
  });
}

/// The gradient of gather_rows: dx[rows[i]] += dy[i]. No row may be named twice.
template <class Scalar>
void gather_rows_gradient(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> dy,
                          std::span<const Index> rows, std::type_identity_t<MatrixView<Scalar>> dx) {
  device.parallel_ranges(dy.rows(), nn::detail::row_grain(dy.cols()), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      nn::detail::row(dx, rows[static_cast<std::size_t>(i)]) += nn::detail::row(dy, i);
  });
}

/// Adds to dpositions [P, D] the sum over sequences of dx at each position, for sequences as in embed_tokens.
template <class Scalar>
void add_position_sums(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> dx,
                       std::span<const Index> offsets, std::type_identity_t<MatrixView<Scalar>> dpositions) {
  device.parallel_for(dpositions.rows(), [&](Index p, int) {
    for (std::size_t s = 0; s + 1 < offsets.size(); ++s)
      if (offsets[s] + p < offsets[s + 1])
        nn::detail::row(dpositions, p) += nn::detail::row(dx, offsets[s] + p);
  });
}

/// Adds to dtypes [K, D] the sum of dx [T, D] over the tokens of each type (all of type 0 where type_ids is
/// empty).
template <class Scalar>
void add_type_sums(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> dx,
                   std::span<const std::int32_t> type_ids, std::type_identity_t<MatrixView<Scalar>> dtypes) {
  const Index cols = dx.cols(), types = type_ids.empty() ? 1 : dtypes.rows();
  nn::detail::sum_over_rows<Scalar>(
      device, dx.rows(), types * cols, dtypes.data(), [&](Index begin, Index end, Scalar* sum) {
        for (Index t = begin; t < end; ++t) {
          const Index type = type_ids.empty() ? 0 : type_ids[static_cast<std::size_t>(t)];
          nn::detail::as_array(sum + type * cols, cols) += nn::detail::row(dx, t);
        }
      });
}

}  // namespace vlp
