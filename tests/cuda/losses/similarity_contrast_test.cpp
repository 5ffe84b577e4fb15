#include "support/catch.hpp"
#include "support/device.hpp"

#include <cuda_runtime.h>

#include <vlp/core/into.hpp>
#include <vlp/core/random.hpp>
#include <vlp/cuda/losses/detail/similarity_contrast.cuh>
#include <vlp/losses/contrast.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace {

using namespace vlp::test;
using vlp::DuplicatePolicy;
using vlp::Index;
using vlp::Into;
using vlp::PairBlock;
using vlp::VectorView;
namespace detail = vlp::cuda::detail;

constexpr double no_margin = std::numeric_limits<double>::infinity();

struct Options {
  DuplicatePolicy policy = DuplicatePolicy::negatives;
  double smoothing = 0, margin = no_margin, row_weight = 0.5, column_weight = 0.5;
};

/// Scores of a whole batch and the groups of its texts, if any.
struct Batch {
  PairBlock block;
  std::vector<float> scores;  // [images, texts]
  std::vector<std::int64_t> ids;

  [[nodiscard]] float score(Index i, Index j) const {
    return scores[static_cast<std::size_t>(i * block.texts + j)];
  }
  [[nodiscard]] bool same(Index j, Index k, DuplicatePolicy policy) const {
    return j == k || (!ids.empty() && policy != DuplicatePolicy::negatives &&
                      ids[static_cast<std::size_t>(j)] == ids[static_cast<std::size_t>(k)]);
  }
};

Batch random_batch(std::uint64_t seed, const PairBlock& block, int groups) {
  vlp::Random random(seed);
  Batch out{block, {}, {}};
  for (Index k = 0; k < block.images * block.texts; ++k)
    out.scores.push_back(static_cast<float>(3 * random.normal()));
  for (Index j = 0; j < block.texts && groups > 0; ++j)
    out.ids.push_back(static_cast<std::int64_t>(random.below(static_cast<std::uint32_t>(groups))));
  return out;
}

struct Result {
  double loss = 0;
  std::vector<double> d_scores;
};

/// Adds weight / B of the cross-entropy of one row or column, of `count` scores at score(k), of which
/// is_kept(k) stay, is_member(k) are of the own group and `own` is the own one.
template <class Score, class IsKept, class IsMember, class D>
double literal_entropy(Index count, Index own, const Options& options, double weight, Score&& score,
                       IsKept&& is_kept, IsMember&& is_member, D&& d) {
  double sum = 0, kept = 0, members = 0;
  for (Index k = 0; k < count; ++k) {
    if (!is_kept(k)) continue;
    sum += std::exp(score(k));
    kept += 1;
    members += is_member(k) ? 1 : 0;
  }
  double loss = std::log(sum);
  for (Index k = 0; k < count; ++k) {
    if (!is_kept(k)) continue;
    const bool joins = options.policy == DuplicatePolicy::positives;
    const double target =
        (joins ? (is_member(k) ? 1 / members : 0) : (k == own ? 1 : 0)) * (1 - options.smoothing) +
        options.smoothing / kept;
    loss -= target * score(k);
    d(k) += weight * (std::exp(score(k)) / sum - target);
  }
  return weight * loss;
}

/// The loss and dL/dS from their definition.
Result literal(const Batch& batch, const Options& options) {
  const PairBlock& block = batch.block;
  Result out{0, std::vector<double>(batch.scores.size())};
  const auto weight = [&](double of_side) { return of_side / static_cast<double>(block.images); };
  const auto keeps = [&](bool own, bool member, double score, double of_own) {
    if (own) return true;
    if (member) return options.policy != DuplicatePolicy::ignore;
    return score <= of_own + options.margin;
  };
  for (Index i = 0; i < block.images; ++i) {
    const Index own = block.text_of(i);
    const auto row = [&](Index j) { return static_cast<double>(batch.score(i, j)); };
    const auto column = [&](Index k) { return static_cast<double>(batch.score(k, own)); };
    const auto is_member = [&](Index j) { return batch.same(own, j, options.policy); };
    const auto is_member_of_column = [&](Index k) { return is_member(block.text_of(k)); };
    out.loss += literal_entropy(
        block.texts, own, options, weight(options.row_weight), row,
        [&](Index j) { return keeps(j == own, is_member(j), row(j), row(own)); }, is_member,
        [&](Index j) -> double& { return out.d_scores[static_cast<std::size_t>(i * block.texts + j)]; });
    out.loss += literal_entropy(
        block.images, i, options, weight(options.column_weight), column,
        [&](Index k) { return keeps(k == i, is_member_of_column(k), column(k), column(i)); },
        is_member_of_column,
        [&](Index k) -> double& { return out.d_scores[static_cast<std::size_t>(k * block.texts + own)]; });
  }
  return out;
}

/// Some images and texts of a batch.
struct Part {
  Index first_image, images, first_text, texts;
};

/// Log-sum-exps of some rows or columns, in device memory.
struct Sums {
  explicit Sums(Index count)
      : max(std::vector<float>(static_cast<std::size_t>(count), std::numeric_limits<float>::lowest())),
        sum(std::vector<float>(static_cast<std::size_t>(count), 0)) {}
  vlp::LogSumExps<float> part(Index first, Index count) {
    return {VectorView<float>(max.data() + first, {count}), VectorView<float>(sum.data() + first, {count})};
  }
  void forget() {
    std::fill(sum.host().begin(), sum.host().end(), NAN);
    sum.upload();
  }
  DeviceArray<float> max, sum;
};

/// The same by the device, in blocks: `image_cuts` and `text_cuts` say where they begin.
Result in_blocks(const Batch& batch, const Options& options, const std::vector<Index>& image_cuts,
                 const std::vector<Index>& text_cuts) {
  vlp::Cuda device = make_device(static_cast<int>(image_cuts.size()));
  DeviceArray<std::int64_t> ids(batch.ids);
  Sums rows(batch.block.images), columns(batch.block.texts);
  DeviceArray<double> target_score({0.0});
  const auto for_each_part = [&](auto&& visit) {
    for (std::size_t i = 0; i + 1 < image_cuts.size(); ++i)
      for (std::size_t j = 0; j + 1 < text_cuts.size(); ++j)
        visit(Part{image_cuts[i], image_cuts[i + 1] - image_cuts[i], text_cuts[j],
                   text_cuts[j + 1] - text_cuts[j]});
  };
  const auto with_part = [&](const Part& part, auto&& visit) {
    std::vector<float> scores;
    for (Index i = 0; i < part.images; ++i)
      for (Index j = 0; j < part.texts; ++j)
        scores.push_back(batch.score(part.first_image + i, part.first_text + j));
    DeviceArray<float> on_device(scores);
    PairBlock block = batch.block;
    block.first_image = part.first_image;
    block.first_text = part.first_text;
    const detail::TargetInputs in{block, part.images,    part.texts,       ids.span(),
                                  {},    options.policy, options.smoothing};
    auto scratch = device.scratch().scope();
    const auto targets = detail::lay_out_targets(scratch, in);
    detail::write_targets(device, "test", in, targets);
    visit(detail::Similarity{on_device.data(), static_cast<int>(part.images), static_cast<int>(part.texts),
                             targets, static_cast<float>(options.row_weight),
                             static_cast<float>(options.column_weight), static_cast<float>(options.margin)});
    device.synchronize();
  };
  // Rows meet one block of texts after the other; the sums of columns are merged.
  for_each_part([&](const Part& part) {
    with_part(part, [&](const detail::Similarity& similarity) {
      const Into into = part.first_text == 0 ? Into::overwrite : Into::add;
      Sums of_part(part.texts);
      DeviceArray<double> score({7.0});
      detail::sum_similarity(
          device, similarity,
          {rows.part(part.first_image, part.images), of_part.part(0, part.texts), score.data()}, into);
      device.synchronize();
      score.download();
      if (into == Into::add) score.host()[0] -= 7;
      score.upload();
      detail::merge_sums_of_blocks(device, {{}, of_part.part(0, part.texts), score.data()},
                                   {{}, columns.part(part.first_text, part.texts), target_score.data()});
      device.synchronize();
    });
  });
  if (options.row_weight == 0) rows.forget();
  if (options.column_weight == 0) columns.forget();
  Result out{0, std::vector<double>(batch.scores.size())};
  const auto add_share = [&](const PairBlock& block, const vlp::ContrastSums<float>& sums) {
    DeviceArray<float> share({NAN});
    detail::finish_share(device, block, sums, options.row_weight, options.column_weight, share.data());
    device.synchronize();
    share.download();
    out.loss += static_cast<double>(share.host()[0]);
  };
  for_each_part([&](const Part& part) {
    PairBlock block = batch.block;
    block.first_image = part.first_image;
    block.first_text = part.first_text;
    const auto row_sums = rows.part(part.first_image, part.images);
    const auto column_sums = columns.part(part.first_text, part.texts);
    if (part.first_text == 0) add_share(block, {row_sums, {}, nullptr});
    if (part.first_image == 0) add_share(block, {{}, column_sums, nullptr});
    with_part(part, [&](const detail::Similarity& similarity) {
      DeviceArray<float> d(std::vector<float>(static_cast<std::size_t>(part.images * part.texts), NAN));
      detail::differentiate_similarity(device, similarity, {row_sums, column_sums, nullptr},
                                       2 / static_cast<float>(batch.block.images), d.data());
      device.synchronize();
      d.download();
      for (Index i = 0; i < part.images; ++i)
        for (Index j = 0; j < part.texts; ++j)
          out.d_scores[static_cast<std::size_t>((part.first_image + i) * batch.block.texts + part.first_text +
                                                j)] =
              static_cast<double>(d.host()[static_cast<std::size_t>(i * part.texts + j)]) / 2;
    });
  });
  add_share(batch.block, {{}, {}, target_score.data()});
  return out;
}

void check_equal(const Result& got, const Result& want) {
  CHECK(got.loss == Approx(want.loss).epsilon(2e-6));
  REQUIRE(got.d_scores.size() == want.d_scores.size());
  for (std::size_t k = 0; k < want.d_scores.size(); ++k)
    CHECK(got.d_scores[k] == Approx(want.d_scores[k]).margin(1e-6));
}

/// Whole batches: square, with negatives in between and before, and with negatives at the end.
const std::vector<PairBlock> shapes{
    {7, 7, 0, 0, 0, 1}, {5, 17, 0, 0, 1, 3}, {9, 40, 0, 0, 0, 1}, {1, 4, 0, 0, 2, 1}};

}  // namespace

TEST_CASE("CUDA cross-entropies of scores in memory are those of their definition") {
  for (const PairBlock& block : shapes)
    for (int groups : {0, 3})
      for (DuplicatePolicy policy :
           {DuplicatePolicy::negatives, DuplicatePolicy::positives, DuplicatePolicy::ignore})
        for (double smoothing : {0.0, 0.1})
          for (double margin : {no_margin, 0.4}) {
            if (smoothing > 0 && margin < no_margin) continue;
            CAPTURE(block.images, block.texts, groups, static_cast<int>(policy), smoothing, margin);
            const Batch batch = random_batch(5, block, groups);
            const Options options{policy, smoothing, margin, 0.7, 0.4};
            check_equal(in_blocks(batch, options, {0, block.images}, {0, block.texts}),
                        literal(batch, options));
          }
}

TEST_CASE("CUDA cross-entropies of scores in memory may be cut into blocks") {
  const PairBlock block{9, 40, 0, 0, 3, 2};
  for (int groups : {0, 4})
    for (DuplicatePolicy policy : {DuplicatePolicy::positives, DuplicatePolicy::ignore})
      for (double smoothing : {0.0, 0.2}) {
        CAPTURE(groups, static_cast<int>(policy), smoothing);
        const Batch batch = random_batch(6, block, groups);
        const Options options{policy, smoothing, no_margin, 1, 0.5};
        const Result want = literal(batch, options);
        check_equal(in_blocks(batch, options, {0, 4, 9}, {0, 40}), want);
        check_equal(in_blocks(batch, options, {0, 9}, {0, 3, 11, 40}), want);
        check_equal(in_blocks(batch, options, {0, 1, 6, 9}, {0, 8, 33, 40}), want);
      }
}

TEST_CASE("CUDA cross-entropies of scores in memory need no sums of a side without weight") {
  const Batch batch = random_batch(7, {6, 11, 0, 0, 0, 2}, 0);
  for (const auto& [rows, columns] : {std::pair{1.0, 0.0}, std::pair{0.0, 1.0}}) {
    const Options options{DuplicatePolicy::negatives, 0, 0.3, rows, columns};
    check_equal(in_blocks(batch, options, {0, 6}, {0, 11}), literal(batch, options));
  }
}
