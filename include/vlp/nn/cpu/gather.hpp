/// \file
/// Lists of numbers on the CPU: tokens, groups and rows that are picked by number.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/cpu/rows.hpp>
#include <vlp/nn/ops/arguments.hpp>
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

template <class Scalar>
void embed_tokens(Cpu& device, const nn::EmbedTokens<Scalar>& a) {
  using nn::detail::row;
  device.parallel_for(a.sequences.count, [&](Index s, int) {
    const Index begin = a.sequences.offsets[s], end = a.sequences.offsets[s + 1];
    for (Index t = begin; t < end; ++t)
      row(a.out, t) = row(a.words, a.ids[t]) + row(a.positions, t - begin) +
                      row(a.types, a.type_ids.given() ? a.type_ids[t] : 0);
  });
}

template <class Scalar>
void add_positions(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> positions,
                   const nn::SequenceView& sequences, std::type_identity_t<MatrixView<Scalar>> x) {
  device.parallel_for(sequences.count, [&](Index s, int) {
    const Index begin = sequences.offsets[s], end = sequences.offsets[s + 1];
    for (Index t = begin; t < end; ++t) nn::detail::row(x, t) += nn::detail::row(positions, t - begin);
  });
}

template <class Scalar>
void gather_rows(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> x, VectorView<const Index> rows,
                 std::type_identity_t<MatrixView<Scalar>> y) {
  device.parallel_ranges(y.rows(), nn::detail::row_grain(y.cols()), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) nn::detail::row(y, i) = nn::detail::row(x, rows[i]);
  });
}

template <class Scalar>
void gather_rows_gradient(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> d_y,
                          VectorView<const Index> rows, std::type_identity_t<MatrixView<Scalar>> d_x) {
  device.parallel_ranges(d_y.rows(), nn::detail::row_grain(d_y.cols()), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) nn::detail::row(d_x, rows[i]) += nn::detail::row(d_y, i);
  });
}

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
