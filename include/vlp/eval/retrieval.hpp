/// \file
/// Retrieval: is the report of an image among the k most similar reports, and the other way round?
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/view.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <span>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::eval {

/// The cut-offs usually reported.
inline constexpr std::array<Index, 3> usual_recall_cutoffs{1, 5, 10};

/// Which pairs show the same image and which have equal reports. Each may be empty: then all differ.
struct PairIds {
  std::span<const std::int64_t> image;  ///< [N] equal for pairs of one image
  std::span<const std::int64_t> text;   ///< [N] equal for pairs with equal reports
};

/// Recall at k: the share of queries that have a hit among their k most similar candidates.
struct RecallAt {
  Index k = 0;
  double recall = 0;  ///< in [0, 1]; NaN without queries
  double chance = 0;  ///< expected recall with candidates in random order, given the number of hits
};

/// The result of retrieval(): one entry for each cut-off, in the order of the argument.
struct Retrieval {
  Index pairs = 0;
  std::vector<RecallAt> image_to_text, text_to_image;
};

namespace detail {

/// The members of sets with ids: those of set s are members[begin[s]] to members[begin[s + 1] - 1].
class MembersOf {
 public:
  MembersOf() = default;
  /// `id` [N], each in [0, count); `member` [N].
  MembersOf(std::span<const Index> id, Index count, std::span<const Index> member)
      : begin_(static_cast<std::size_t>(count) + 1), members_(id.size()) {
    for (const Index set : id) ++begin_[static_cast<std::size_t>(set) + 1];
    std::partial_sum(begin_.begin(), begin_.end(), begin_.begin());
    std::vector<Index> next(begin_.begin(), begin_.end() - 1);
    for (std::size_t i = 0; i < id.size(); ++i)
      members_[static_cast<std::size_t>(next[static_cast<std::size_t>(id[i])]++)] = member[i];
  }
  [[nodiscard]] std::span<const Index> operator[](Index set) const {
    const auto s = static_cast<std::size_t>(set);
    return std::span(members_).subspan(static_cast<std::size_t>(begin_[s]),
                                       static_cast<std::size_t>(begin_[s + 1] - begin_[s]));
  }

 private:
  std::vector<Index> begin_, members_;
};

/// Ids in the order of their first occurrence, from 0. Returns how many there are.
inline Index renumber(std::span<const std::int64_t> ids, std::span<Index> numbers) {
  if (ids.empty()) {
    std::iota(numbers.begin(), numbers.end(), Index{0});
    return static_cast<Index>(numbers.size());
  }
  std::unordered_map<std::int64_t, Index> number_of;
  for (std::size_t i = 0; i < ids.size(); ++i)
    numbers[i] = number_of.emplace(ids[i], static_cast<Index>(number_of.size())).first->second;
  return static_cast<Index>(number_of.size());
}

/// The candidates that answer each query of one direction. A query has an id (that of its image, say), and so
/// has a candidate (that of its report). Candidate j answers query i if some pair has the id of query i and
/// that of candidate j.
class Hits {
 public:
  Hits(Index pairs, std::span<const std::int64_t> query_id, std::span<const std::int64_t> candidate_id)
      : query_(static_cast<std::size_t>(pairs)) {
    std::vector<Index> candidate(query_.size()), position(query_.size());
    std::iota(position.begin(), position.end(), Index{0});
    const Index queries = renumber(query_id, query_), candidates = renumber(candidate_id, candidate);
    candidates_with_ = MembersOf(candidate, candidates, position);
    // Each pair of ids once, though several pairs may have it.
    std::vector<std::pair<Index, Index>> links;
    for (std::size_t i = 0; i < query_.size(); ++i) links.emplace_back(query_[i], candidate[i]);
    std::sort(links.begin(), links.end());
    links.erase(std::unique(links.begin(), links.end()), links.end());
    std::vector<Index> from, to;
    for (const auto& [q, c] : links) {
      from.push_back(q);
      to.push_back(c);
    }
    ids_of_ = MembersOf(from, queries, to);
  }

  [[nodiscard]] Index queries() const { return static_cast<Index>(query_.size()); }
  /// Calls `visit(j)` once for each candidate that answers query i.
  template <class Visit>
  void for_each(Index i, Visit&& visit) const {
    for (const Index id : ids_of_[query_[static_cast<std::size_t>(i)]])
      for (const Index j : candidates_with_[id]) visit(j);
  }
  [[nodiscard]] Index count(Index i) const {
    Index hits = 0;
    for (const Index id : ids_of_[query_[static_cast<std::size_t>(i)]])
      hits += static_cast<Index>(candidates_with_[id].size());
    return hits;
  }

 private:
  std::vector<Index> query_;  // id of each
  MembersOf ids_of_;          // ids of candidates that answer an id of a query
  MembersOf candidates_with_;
};

/// Rank, from 1, of the best hit of query i: one more than the number of other candidates that do not score
/// below it. So a tie with a wrong candidate, or a wrong candidate that is NaN, counts against the query. A
/// query whose hits are all NaN is never found: its rank is the largest Index, beyond every cut-off.
template <class Score>
Index pessimistic_rank(const Hits& hits, Index i, Score&& score) {
  const Index count = hits.queries();
  Index best = -1;
  hits.for_each(i, [&](Index j) {
    if (score(j) == score(j) && (best < 0 || score(j) > score(best))) best = j;
  });
  if (best < 0) return std::numeric_limits<Index>::max();
  Index rank = 1;
  for (Index j = 0; j < count; ++j) rank += !(score(j) < score(best));
  hits.for_each(i, [&](Index j) { rank -= !(score(j) < score(best)); });
  return rank;
}

/// The probability that at least one of `hits` among `count` candidates in random order is in the first k.
inline double chance_of_hit(Index hits, Index count, Index k) {
  double none = 1;  // draw k without putting back, and miss each time
  for (Index drawn = 0; drawn < k && none > 0; ++drawn)
    none *= std::max(0.0, static_cast<double>(count - hits - drawn) / static_cast<double>(count - drawn));
  return 1 - none;
}

/// Recalls from the rank of each query.
inline std::vector<RecallAt> recalls(std::span<const Index> ranks, const Hits& hits,
                                     std::span<const Index> cutoffs) {
  const auto count = static_cast<Index>(ranks.size());
  std::map<Index, Index> queries_with;  // number of hits -> number of queries that have as many
  for (Index i = 0; i < count; ++i) ++queries_with[hits.count(i)];

  std::vector<RecallAt> out;
  for (const Index k : cutoffs) {
    const auto found = std::count_if(ranks.begin(), ranks.end(), [k](Index rank) { return rank <= k; });
    double chance = 0;
    for (const auto& [answers, queries] : queries_with)
      chance += static_cast<double>(queries) * chance_of_hit(answers, count, std::min(k, count));
    const double n = count > 0 ? static_cast<double>(count) : std::numeric_limits<double>::quiet_NaN();
    out.push_back({k, static_cast<double>(found) / n, chance / n});
  }
  return out;
}

inline void check_retrieval(Index pairs, const PairIds& ids, std::span<const Index> cutoffs) {
  for (const auto& [name, given] : {std::pair{"image", ids.image}, {"text", ids.text}})
    require(given.empty() || static_cast<Index>(given.size()) == pairs, "retrieval: there are ", pairs,
            " pairs but ", given.size(), " ", name, " ids");
  for (const Index k : cutoffs) require(k >= 1, "retrieval: a cut-off must be at least 1, but is ", k);
}

/// Ranks of all queries [N, D] among all candidates [N, D], a block of similarities at a time.
template <class Scalar>
std::vector<Index> ranks_of(Cpu& device, MatrixView<const Scalar> queries,
                            MatrixView<const Scalar> candidates, const Hits& hits, StopToken stop) {
  constexpr Index block_rows = 256;
  const Index count = queries.rows();
  std::vector<Index> ranks(static_cast<std::size_t>(count));
  auto scope = device.scratch().scope();
  const auto block = scope.template take_view<Scalar>(std::min(block_rows, count), count);
  for (Index begin = 0; begin < count; begin += block_rows) {
    stop.check();
    const Index rows = std::min(block_rows, count - begin);
    const auto similarity = block.slice(0, rows);
    matmul<Scalar>(device, queries.slice(begin, rows), Op::none, candidates, Op::transpose, similarity);
    device.parallel_for(rows, [&](Index row, int) {
      const Scalar* score = &similarity(row, 0);
      ranks[static_cast<std::size_t>(begin + row)] =
          pessimistic_rank(hits, begin + row, [&](Index j) { return score[j]; });
    });
  }
  return ranks;
}

}  // namespace detail

/// Recall at each of `cutoffs` from a similarity matrix [N, N]: entry (i, j) is the similarity of image i to
/// report j, larger is more similar. Any report of image i answers its query, and any image of report j
/// answers its: (i, j) is a hit if some pair has the image id of pair i and the text id of pair j. Without
/// ids only pair i answers query i.
///
/// A query is found at k when fewer than k wrong candidates score at least as much as its best hit: ties and
/// NaN count against it. Chance is exact: with h hits among N candidates, 1 - C(N-h, k) / C(N, k), averaged
/// over the queries. Throws std::invalid_argument unless the matrix is square, there are N ids of a
/// kind or none, and every cut-off is at least 1.
template <class T>
[[nodiscard]] Retrieval retrieval(MatrixView<T> similarity, const PairIds& ids = {},
                                  std::span<const Index> cutoffs = usual_recall_cutoffs) {
  const Index count = similarity.rows();
  require(count == similarity.cols(), "retrieval: similarity must be square, but is ", count, " x ",
          similarity.cols());
  detail::check_retrieval(count, ids, cutoffs);
  const detail::Hits texts(count, ids.image, ids.text), images(count, ids.text, ids.image);
  std::vector<Index> of_image, of_text;
  for (Index i = 0; i < count; ++i) {
    of_image.push_back(detail::pessimistic_rank(texts, i, [&](Index j) { return similarity(i, j); }));
    of_text.push_back(detail::pessimistic_rank(images, i, [&](Index j) { return similarity(j, i); }));
  }
  return {count, detail::recalls(of_image, texts, cutoffs), detail::recalls(of_text, images, cutoffs)};
}

/// The same from embeddings: `image` and `text` [N, D]; the similarity is their dot product (the cosine, when
/// the rows have unit length). Takes O(N * 256) scratch memory, never N * N.
/// Throws std::invalid_argument also unless image and text have the same extents, and Stopped.
template <class T>
[[nodiscard]] Retrieval retrieval(Cpu& device, MatrixView<T> image,
                                  std::type_identity_t<MatrixView<const T>> text, const PairIds& ids = {},
                                  std::span<const Index> cutoffs = usual_recall_cutoffs,
                                  StopToken stop = {}) {
  const Index count = image.rows();
  require(count == text.rows() && image.cols() == text.cols(), "retrieval: image is ", count, " x ",
          image.cols(), " but text is ", text.rows(), " x ", text.cols());
  detail::check_retrieval(count, ids, cutoffs);
  const detail::Hits texts(count, ids.image, ids.text), images(count, ids.text, ids.image);
  const auto of_image = detail::ranks_of<std::remove_const_t<T>>(device, image, text, texts, stop);
  const auto of_text = detail::ranks_of<std::remove_const_t<T>>(device, text, image, images, stop);
  return {count, detail::recalls(of_image, texts, cutoffs), detail::recalls(of_text, images, cutoffs)};
}

}  // namespace vlp::eval
