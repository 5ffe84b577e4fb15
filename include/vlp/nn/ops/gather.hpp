/// \file
/// Device operations: rows picked by number, and sums over the rows that share a number.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/ops/rows.hpp>
#include <vlp/nn/types.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace vlp {

namespace nn::detail {

/// The members of each group: those of group g are order[starts[g]] to order[starts[g + 1] - 1], ascending.
struct Groups {
  const Index* starts;
  const Index* order;
  [[nodiscard]] Index size(Index g) const { return starts[g + 1] - starts[g]; }
};

/// Sorts the indices of `group` by their group in [0, groups) (a counting sort); negative groups are left
/// out.
inline Groups sort_by_group(Arena::Scope& scope, VectorView<const std::int32_t> group, Index groups) {
  Index* starts = scope.take<Index>(groups + 2);
  Index* order = scope.take<Index>(group.size());
  std::fill_n(starts, groups + 2, Index(0));
  for (Index t = 0; t < group.size(); ++t)
    if (group[t] >= 0) ++starts[group[t] + 2];
  for (Index g = 2; g < groups + 2; ++g) starts[g] += starts[g - 1];
  for (Index t = 0; t < group.size(); ++t)
    if (group[t] >= 0) order[starts[group[t] + 1]++] = t;
  return {starts, order};
}

}  // namespace nn::detail

/// out[g] = (or +=) the sum (mean) of the rows x[t] with group[t] = g, in ascending order of t; zeros for a
/// group without rows. x [T, D], out [G, D], group [T] in [-1, G), where -1 leaves the row out.
template <class Scalar>
void pool_groups(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> x,
                 VectorView<const std::int32_t> group, nn::Pooling pooling,
                 std::type_identity_t<MatrixView<Scalar>> out, Into into) {
  auto scope = device.scratch().scope();
  const nn::detail::Groups groups = nn::detail::sort_by_group(scope, group, out.rows());
  device.parallel_ranges(out.rows(), 64, [&](Index begin, Index end) {
    for (Index g = begin; g < end; ++g) {
      const Index count = groups.size(g);
      if (count == 0 && into == Into::add) continue;
      auto sum = nn::detail::row(out, g);
      if (into == Into::overwrite) sum.setZero();
      const Scalar weight = pooling == nn::Pooling::mean ? Scalar(1) / static_cast<Scalar>(count) : Scalar(1);
      for (Index i = groups.starts[g]; i < groups.starts[g + 1]; ++i)
        sum += weight * nn::detail::row(x, groups.order[i]);
    }
  });
}

/// The gradient of pool_groups: d_x[t] = d_out[group[t]] (divided by the group's size for means), zero for
/// group -1.
template <class Scalar>
void pool_groups_gradient(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> d_out,
                          VectorView<const std::int32_t> group, nn::Pooling pooling,
                          std::type_identity_t<MatrixView<Scalar>> d_x) {
  auto scope = device.scratch().scope();
  const nn::detail::Groups groups = nn::detail::sort_by_group(scope, group, d_out.rows());
  device.parallel_ranges(d_x.rows(), nn::detail::row_grain(d_x.cols()), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) {
      const Index g = group[t];
      auto gradient = nn::detail::row(d_x, t);
      if (g < 0)
        gradient.setZero();
      else if (pooling == nn::Pooling::mean)
        gradient = nn::detail::row(d_out, g) * (Scalar(1) / static_cast<Scalar>(groups.size(g)));
      else
        gradient = nn::detail::row(d_out, g);
    }
  });
}

/// out[t] = words[ids[t]] + positions[t's place in its sequence] + types[type_ids[t]] (types[0] where
/// type_ids is not given), for sequences of tokens [offsets[s], offsets[s + 1]). Tables [V, D], [P, D], [K,
/// D], out [T, D].
template <class Scalar>
void embed_tokens(Cpu& device, VectorView<const std::int32_t> ids, VectorView<const std::int32_t> type_ids,
                  const nn::SequenceView& sequences, std::type_identity_t<MatrixView<const Scalar>> words,
                  std::type_identity_t<MatrixView<const Scalar>> positions,
                  std::type_identity_t<MatrixView<const Scalar>> types,
                  std::type_identity_t<MatrixView<Scalar>> out) {
  using nn::detail::row;
  device.parallel_for(sequences.count, [&](Index s, int) {
    const Index begin = sequences.offsets[s], end = sequences.offsets[s + 1];
    for (Index t = begin; t < end; ++t)
      row(out, t) =
          row(words, ids[t]) + row(positions, t - begin) + row(types, type_ids.given() ? type_ids[t] : 0);
  });
}

/// x[t] += positions[t's place in its sequence], for sequences as in embed_tokens.
template <class Scalar>
void add_positions(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> positions,
                   const nn::SequenceView& sequences, std::type_identity_t<MatrixView<Scalar>> x) {
  device.parallel_for(sequences.count, [&](Index s, int) {
    const Index begin = sequences.offsets[s], end = sequences.offsets[s + 1];
    for (Index t = begin; t < end; ++t) nn::detail::row(x, t) += nn::detail::row(positions, t - begin);
  });
}

/// y[i] = x[rows[i]] for y [rows.size(), D].
template <class Scalar>
void gather_rows(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> x, VectorView<const Index> rows,
                 std::type_identity_t<MatrixView<Scalar>> y) {
  device.parallel_ranges(y.rows(), nn::detail::row_grain(y.cols()), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) nn::detail::row(y, i) = nn::detail::row(x, rows[i]);
  });
}

/// The gradient of gather_rows: d_x[rows[i]] += d_y[i]. No row may be named twice.
template <class Scalar>
void gather_rows_gradient(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> d_y,
                          VectorView<const Index> rows, std::type_identity_t<MatrixView<Scalar>> d_x) {
  device.parallel_ranges(d_y.rows(), nn::detail::row_grain(d_y.cols()), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) nn::detail::row(d_x, rows[i]) += nn::detail::row(d_y, i);
  });
}

/// Adds to d_positions [P, D] the sum over sequences of d_x at each position, for sequences as in
/// embed_tokens.
template <class Scalar>
void add_position_sums(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> d_x,
                       const nn::SequenceView& sequences,
                       std::type_identity_t<MatrixView<Scalar>> d_positions) {
  const Index* offsets = sequences.offsets;
  device.parallel_for(d_positions.rows(), [&](Index p, int) {
    for (Index s = 0; s < sequences.count; ++s)
      if (offsets[s] + p < offsets[s + 1])
        nn::detail::row(d_positions, p) += nn::detail::row(d_x, offsets[s] + p);
  });
}

/// Adds to d_types [K, D] the sum of d_x [T, D] over the tokens of each type (all of type 0 where type_ids is
/// not given).
template <class Scalar>
void add_type_sums(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> d_x,
                   VectorView<const std::int32_t> type_ids,
                   std::type_identity_t<MatrixView<Scalar>> d_types) {
  const Index cols = d_x.cols(), types = type_ids.given() ? d_types.rows() : 1;
  nn::detail::sum_over_rows<Scalar>(
      device, d_x.rows(), types * cols, d_types.data(), [&](Index begin, Index end, Scalar* sum) {
        for (Index t = begin; t < end; ++t) {
          const Index type = type_ids.given() ? type_ids[t] : 0;
          nn::detail::as_array(sum + type * cols, cols) += nn::detail::row(d_x, t);
        }
      });
}

}  // namespace vlp
