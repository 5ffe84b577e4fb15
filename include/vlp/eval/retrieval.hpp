/// \file
/// Retrieval: is the report of an image among the k most similar reports, and the other way round?
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <type_traits>
#include <vector>

namespace vlp::eval {

/// The cut-offs usually reported.
inline constexpr std::array<Index, 3> usual_recall_cutoffs{1, 5, 10};

/// Recall at k: the share of queries that have a hit among their k most similar candidates.
struct RecallAt {
  Index k = 0;
  double recall = 0;  ///< in [0, 1]; NaN without queries
  double chance = 0;  ///< expected recall with candidates in random order, given the groups
};

/// The result of retrieval(): one entry for each cut-off, in the order of the argument.
struct Retrieval {
  Index pairs = 0;
  std::vector<RecallAt> image_to_text, text_to_image;
};

namespace detail {

/// Rank, from 1, of the best hit among `count` candidates: one more than the number of other candidates that
/// do not score below it. So a tie with a wrong candidate, or a wrong candidate that is NaN, counts against
/// the query. A query whose hits are all NaN ranks last of all: count + 1.
template <class Score, class IsHit>
Index pessimistic_rank(Index count, Score&& score, IsHit&& is_hit) {
  Index best = -1;
  for (Index j = 0; j < count; ++j)
    if (is_hit(j) && score(j) == score(j) && (best < 0 || score(j) > score(best))) best = j;
  if (best < 0) return count + 1;
  Index rank = 1;
  for (Index j = 0; j < count; ++j) rank += !is_hit(j) && !(score(j) < score(best));
  return rank;
}

/// Whether candidate j answers query i: the same pair, or one of the same group.
struct SameGroup {
  std::span<const std::int64_t> group;
  bool operator()(Index i, Index j) const {
    return i == j ||
           (!group.empty() && group[static_cast<std::size_t>(i)] == group[static_cast<std::size_t>(j)]);
  }
};

/// The probability that at least one of `hits` among `count` candidates in random order is in the first k.
inline double chance_of_hit(Index hits, Index count, Index k) {
  double none = 1;  // draw k without putting back, and miss each time
  for (Index drawn = 0; drawn < k && none > 0; ++drawn)
    none *= std::max(0.0, static_cast<double>(count - hits - drawn) / static_cast<double>(count - drawn));
  return 1 - none;
}

/// Recalls from the rank of each query.
inline std::vector<RecallAt> recalls(std::span<const Index> ranks, std::span<const std::int64_t> group,
                                     std::span<const Index> cutoffs) {
  const auto count = static_cast<Index>(ranks.size());
  std::map<std::int64_t, Index> members;
  for (const std::int64_t g : group) ++members[g];
  std::map<Index, Index> queries_with;  // number of hits -> number of queries that have as many
  for (const std::int64_t g : group) ++queries_with[members[g]];
  if (group.empty()) queries_with[1] = count;

  std::vector<RecallAt> out;
  for (const Index k : cutoffs) {
    const auto found = std::count_if(ranks.begin(), ranks.end(), [k](Index rank) { return rank <= k; });
    double chance = 0;
    for (const auto& [hits, queries] : queries_with)
      chance += static_cast<double>(queries) * chance_of_hit(hits, count, std::min(k, count));
    const double n = count > 0 ? static_cast<double>(count) : std::numeric_limits<double>::quiet_NaN();
    out.push_back({k, static_cast<double>(found) / n, chance / n});
  }
  return out;
}

inline void check_retrieval(Index pairs, std::span<const std::int64_t> group,
                            std::span<const Index> cutoffs) {
  require(group.empty() || static_cast<Index>(group.size()) == pairs, "retrieval: there are ", pairs,
          " pairs but ", group.size(), " group ids");
  for (const Index k : cutoffs) require(k >= 1, "retrieval: a cut-off must be at least 1, but is ", k);
}

/// Ranks of all queries [N, D] among all candidates [N, D], a block of similarities at a time.
template <class Scalar>
std::vector<Index> ranks_of(Cpu& device, MatrixView<const Scalar> queries,
                            MatrixView<const Scalar> candidates, const SameGroup& same) {
  constexpr Index block_rows = 256;
  const Index count = queries.rows();
  std::vector<Index> ranks(static_cast<std::size_t>(count));
  auto scope = device.scratch().scope();
  const auto block = scope.template take_view<Scalar>(std::min(block_rows, count), count);
  for (Index begin = 0; begin < count; begin += block_rows) {
    const Index rows = std::min(block_rows, count - begin);
    const auto similarity = block.slice(0, rows);
    matmul<Scalar>(device, queries.slice(begin, rows), Op::none, candidates, Op::transpose, similarity);
    device.parallel_for(rows, [&](Index row, int) {
      const Scalar* score = &similarity(row, 0);
      ranks[static_cast<std::size_t>(begin + row)] = pessimistic_rank(
          count, [&](Index j) { return score[j]; }, [&](Index j) { return same(begin + row, j); });
    });
  }
  return ranks;
}

}  // namespace detail

/// Recall at each of `cutoffs` from a similarity matrix [N, N]: entry (i, j) is the similarity of image i to
/// report j, larger is more similar. `group` [N]: pairs with the same id have equal reports and answer each
/// other's query; without it only pair i answers query i.
///
/// A query is found at k when fewer than k wrong candidates score at least as much as its best hit: ties and
/// NaN count against it. Chance is exact: with h hits among N candidates, 1 - C(N-h, k) / C(N, k), averaged
/// over the queries. Throws std::invalid_argument unless the matrix is square, group has N ids and every
/// cut-off is at least 1.
template <class T>
[[nodiscard]] Retrieval retrieval(MatrixView<T> similarity, std::span<const std::int64_t> group = {},
                                  std::span<const Index> cutoffs = usual_recall_cutoffs) {
  const Index count = similarity.rows();
  require(count == similarity.cols(), "retrieval: similarity must be square, but is ", count, " x ",
          similarity.cols());
  detail::check_retrieval(count, group, cutoffs);
  const detail::SameGroup same{group};
  std::vector<Index> of_image, of_text;
  for (Index i = 0; i < count; ++i) {
    const auto is_hit = [&](Index j) { return same(i, j); };
    of_image.push_back(detail::pessimistic_rank(
        count, [&](Index j) { return similarity(i, j); }, is_hit));
    of_text.push_back(detail::pessimistic_rank(
        count, [&](Index j) { return similarity(j, i); }, is_hit));
  }
  return {count, detail::recalls(of_image, group, cutoffs), detail::recalls(of_text, group, cutoffs)};
}

/// The same from embeddings: `image` and `text` [N, D]; the similarity is their dot product (the cosine, when
/// the rows have unit length). Takes O(N * 256) scratch memory, never N * N.
/// Throws std::invalid_argument also unless image and text have the same extents.
template <class T>
[[nodiscard]] Retrieval retrieval(Cpu& device, MatrixView<T> image,
                                  std::type_identity_t<MatrixView<const T>> text,
                                  std::span<const std::int64_t> group = {},
                                  std::span<const Index> cutoffs = usual_recall_cutoffs) {
  const Index count = image.rows();
  require(count == text.rows() && image.cols() == text.cols(), "retrieval: image is ", count, " x ",
          image.cols(), " but text is ", text.rows(), " x ", text.cols());
  detail::check_retrieval(count, group, cutoffs);
  const detail::SameGroup same{group};
  const auto of_image = detail::ranks_of<std::remove_const_t<T>>(device, image, text, same);
  const auto of_text = detail::ranks_of<std::remove_const_t<T>>(device, text, image, same);
  return {count, detail::recalls(of_image, group, cutoffs), detail::recalls(of_text, group, cutoffs)};
}

}  // namespace vlp::eval
