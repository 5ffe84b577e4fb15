#include "support/catch.hpp"

#include <rapidcheck.h>

#include <vlp/core/random.hpp>
#include <vlp/eval/retrieval.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

using vlp::Index;
using vlp::MatrixView;
using vlp::eval::retrieval;

namespace {
const float nan_score = std::numeric_limits<float>::quiet_NaN();

std::vector<float> normals(Index count, std::uint32_t stream) {
  vlp::Random random(7, stream);
  std::vector<float> out(static_cast<std::size_t>(count));
  for (float& x : out) x = random.normal();
  return out;
}
}  // namespace

TEST_CASE("retrieval ranks rows and columns") {
  // Image 0 finds its report first, image 1 second, image 2 third; reports 0 and 1 find theirs first.
  const float similarity[] = {0.9f, 0.1f, 0.2f,  //
                              0.8f, 0.7f, 0.1f,  //
                              0.6f, 0.5f, 0.0f};
  const std::vector<Index> cutoffs{1, 2, 3};
  const auto result = retrieval(MatrixView<const float>(similarity, {3, 3}), {}, cutoffs);
  CHECK(result.pairs == 3);
  for (std::size_t k = 0; k < 3; ++k) {
    CHECK(result.image_to_text[k].k == static_cast<Index>(k + 1));
    CHECK(result.image_to_text[k].recall == Approx((static_cast<double>(k) + 1) / 3));
    CHECK(result.image_to_text[k].chance == Approx((static_cast<double>(k) + 1) / 3));
  }
  CHECK(result.text_to_image[0].recall == Approx(2.0 / 3));
  CHECK(result.text_to_image[2].recall == 1.0);
}

TEST_CASE("retrieval counts ties and NaN against the query") {
  std::vector<float> similarity(16, 0.5f);  // all alike: guessing, so nothing is found before k = N
  const MatrixView<float> view(similarity.data(), {4, 4});
  const std::vector<Index> cutoffs{1, 3, 4};
  auto result = retrieval(view, {}, cutoffs);
  CHECK(result.image_to_text[0].recall == 0);
  CHECK(result.image_to_text[1].recall == 0);
  CHECK(result.image_to_text[2].recall == 1);

  for (Index i = 0; i < 4; ++i) view(i, i) = 1;
  CHECK(retrieval(view).image_to_text[0].recall == 1);
  view(0, 1) = nan_score;  // a wrong answer
  view(2, 2) = nan_score;  // the right answer
  result = retrieval(view, {}, cutoffs);
  CHECK(result.image_to_text[0].recall == Approx(2.0 / 4));
  CHECK(result.image_to_text[2].recall == Approx(3.0 / 4));  // never found, even among all
  CHECK(result.text_to_image[0].recall == Approx(2.0 / 4));
}

TEST_CASE("retrieval takes equal reports for hits") {
  const double similarity[] = {0.1, 0.9, 0.5,  //
                               0.9, 0.1, 0.5,  //
                               0.9, 0.5, 0.1};
  const std::vector<std::int64_t> group{-7, -7, 4};
  const std::vector<Index> cutoffs{1, 2};
  const auto result =
      retrieval(MatrixView<const double>(similarity, {3, 3}), {.image = {}, .text = group}, cutoffs);
  CHECK(result.image_to_text[0].recall == Approx(2.0 / 3));
  // Two queries have two hits among three candidates, one has one.
  CHECK(result.image_to_text[0].chance == Approx((2.0 / 3 + 2.0 / 3 + 1.0 / 3) / 3));
  CHECK(result.image_to_text[1].chance == Approx((1 + 1 + 2.0 / 3) / 3));
}

TEST_CASE("retrieval takes every report of an image, and every image of a report, for a hit") {
  // Images A, A, A, B with reports 1, 2, 3, 3: report 3 is right for A and B.
  const std::vector<std::int64_t> image{7, 7, 7, 9}, text{1, 2, 3, 3};
  const std::vector<Index> cutoffs{1, 2, 3, 4};
  // A perfect model gives an image and its reports one direction; a report of two images lies between.
  const float perfect[] = {0.9f, 0.9f, 0.7f, 0.7f,  //
                           0.9f, 0.9f, 0.7f, 0.7f,  //
                           0.9f, 0.9f, 0.7f, 0.7f,  //
                           0.1f, 0.1f, 0.7f, 0.7f};
  const auto best = retrieval(MatrixView<const float>(perfect, {4, 4}), {image, text}, cutoffs);
  CHECK(best.image_to_text[0].recall == 1);
  CHECK(best.text_to_image[0].recall == 1);
  // Without ids its own other reports stand before it.
  CHECK(retrieval(MatrixView<const float>(perfect, {4, 4}), {}, cutoffs).image_to_text[0].recall == 0);
  // Image A is answered by all 4 candidates; image B by reports 3 and 3, not by those that A has beside.
  CHECK(best.image_to_text[0].chance == Approx((3 * 1.0 + 0.5) / 4));
  CHECK(best.image_to_text[1].chance == Approx((3 * 1.0 + (1 - (2.0 / 4) * (1.0 / 3))) / 4));
  // Reports 1 and 2 are answered by the three rows of A, report 3 by all.
  CHECK(best.text_to_image[0].chance == Approx((2 * 0.75 + 2 * 1.0) / 4));
  const float wrong[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.9f, 0.8f, 0.7f, 0.7f};
  const auto third = retrieval(MatrixView<const float>(wrong, {4, 4}), {image, text}, cutoffs);
  CHECK(third.image_to_text[1].recall == Approx(0.75));  // image B finds report 3 behind 1 and 2
  CHECK(third.image_to_text[2].recall == 1);
}

TEST_CASE("retrieval agrees with its definition, whatever pairs share") {
  CHECK(rc::check([] {
    const auto pairs = *rc::gen::inRange<Index>(1, 9);
    const auto count = static_cast<std::size_t>(pairs);
    const auto ids =
        rc::gen::container<std::vector<std::int64_t>>(count, rc::gen::inRange<std::int64_t>(0, 6));
    const std::vector<std::int64_t> image = *ids, text = *ids;
    const auto similarity = *rc::gen::container<std::vector<float>>(
        count * count, rc::gen::map(rc::gen::inRange(0, 9),
                                    [](int s) { return s == 8 ? nan_score : static_cast<float>(s); }));
    const auto hits = [&](std::size_t i, std::size_t j) {
      for (std::size_t p = 0; p < count; ++p)
        if (image[p] == image[i] && text[p] == text[j]) return true;
      return false;
    };
    // Found at k: fewer than k wrong candidates are not below the best hit.
    const auto is_found = [&](std::size_t query, Index k, bool of_image) {
      const auto score = [&](std::size_t j) {
        return similarity[of_image ? query * count + j : j * count + query];
      };
      const auto is_hit = [&](std::size_t j) { return of_image ? hits(query, j) : hits(j, query); };
      float best = -1;
      for (std::size_t j = 0; j < count; ++j)
        if (is_hit(j) && score(j) > best) best = score(j);
      Index before = 0;
      for (std::size_t j = 0; j < count; ++j) before += !is_hit(j) && !(score(j) < best);
      return best >= 0 && before < k;
    };
    const std::vector<Index> cutoffs{1, 2, 4};
    const auto result =
        retrieval(MatrixView<const float>(similarity.data(), {pairs, pairs}), {image, text}, cutoffs);
    for (std::size_t c = 0; c < cutoffs.size(); ++c)
      for (const bool of_image : {true, false}) {
        double found = 0;
        for (std::size_t i = 0; i < count; ++i) found += is_found(i, cutoffs[c], of_image);
        const auto& recalls = of_image ? result.image_to_text : result.text_to_image;
        RC_ASSERT(std::abs(recalls[c].recall - found / static_cast<double>(pairs)) < 1e-12);
      }
    double chance = 0;  // of the first of all candidates in random order
    for (std::size_t i = 0; i < count; ++i)
      for (std::size_t j = 0; j < count; ++j) chance += hits(i, j);
    RC_ASSERT(std::abs(result.image_to_text[0].chance - chance / static_cast<double>(pairs * pairs)) < 1e-12);
    RC_ASSERT(std::abs(result.text_to_image[0].chance - chance / static_cast<double>(pairs * pairs)) < 1e-12);
  }));
}

TEST_CASE("retrieval of one pair, of none, and with fewer pairs than k") {
  const float one[] = {0.f};
  const auto result = retrieval(MatrixView<const float>(one, {1, 1}));
  REQUIRE(result.image_to_text.size() == 3);
  CHECK(result.image_to_text[2].k == 10);
  CHECK(result.image_to_text[2].recall == 1);
  CHECK(result.image_to_text[2].chance == 1);
  const auto none = retrieval(MatrixView<const float>(one, {0, 0}));
  CHECK(std::isnan(none.text_to_image[0].recall));
  CHECK(std::isnan(none.text_to_image[0].chance));
}

TEST_CASE("retrieval from embeddings is retrieval from their similarity") {
  const Index pairs = 300, width = 8;  // more than one block
  auto image = normals(pairs * width, 1), text = normals(pairs * width, 2);
  for (std::size_t i = 0; i < text.size(); ++i) text[i] += image[i];
  std::vector<std::int64_t> group, twice;
  for (Index i = 0; i < pairs; ++i) {
    group.push_back(i % 290);
    twice.push_back(i / 2);
  }
  const MatrixView<const float> images(image.data(), {pairs, width}), texts(text.data(), {pairs, width});

  vlp::Cpu device(2);
  std::vector<float> similarity(static_cast<std::size_t>(pairs * pairs));
  vlp::matmul<float>(device, images, vlp::Op::none, texts, vlp::Op::transpose,
                     MatrixView<float>(similarity.data(), {pairs, pairs}));
  const auto expected = retrieval(MatrixView<const float>(similarity.data(), {pairs, pairs}), {twice, group});
  const auto result = retrieval(device, images, texts, {twice, group});
  for (std::size_t k = 0; k < 3; ++k) {
    CHECK(result.image_to_text[k].recall == Approx(expected.image_to_text[k].recall));
    CHECK(result.text_to_image[k].recall == Approx(expected.text_to_image[k].recall));
    CHECK(result.text_to_image[k].chance == expected.text_to_image[k].chance);
  }
  CHECK(result.image_to_text[0].recall > 10 * result.image_to_text[0].chance);
  CHECK(device.scratch().high_water() <= static_cast<std::size_t>(256 * (pairs + 64)) * sizeof(float));
}

TEST_CASE("chance of retrieval is what random similarities give") {
  const Index pairs = 40;
  std::vector<std::int64_t> group;
  for (Index i = 0; i < pairs; ++i) group.push_back(i / 3);
  double found = 0, chance = 0;
  const int rounds = 200;
  for (int round = 0; round < rounds; ++round) {
    const auto similarity = normals(pairs * pairs, 100 + static_cast<std::uint32_t>(round));
    const auto result =
        retrieval(MatrixView<const float>(similarity.data(), {pairs, pairs}), {.image = {}, .text = group});
    found += result.image_to_text[1].recall / rounds;
    chance = result.image_to_text[1].chance;
  }
  CHECK(found == Approx(chance).margin(0.02));
}

TEST_CASE("recall grows with k and is the same for any monotone scale of the similarities") {
  CHECK(rc::check([](const std::vector<std::uint8_t>& bytes) {
    const auto pairs = static_cast<Index>(std::sqrt(static_cast<double>(bytes.size())));
    std::vector<float> similarity(bytes.begin(), bytes.begin() + pairs * pairs), stretched;
    for (const float x : similarity) stretched.push_back(x * x * 4 - 3);
    const std::vector<Index> cutoffs{1, 2, 3, 5};
    const auto one = retrieval(MatrixView<const float>(similarity.data(), {pairs, pairs}), {}, cutoffs);
    const auto other = retrieval(MatrixView<const float>(stretched.data(), {pairs, pairs}), {}, cutoffs);
    for (std::size_t k = 0; k < cutoffs.size() && pairs > 0; ++k) {
      RC_ASSERT(one.image_to_text[k].recall == other.image_to_text[k].recall);
      RC_ASSERT(k == 0 || one.image_to_text[k].recall >= one.image_to_text[k - 1].recall);
    }
  }));
}

TEST_CASE("a query whose right answers are all NaN is not found, however large the cut-off") {
  const float values[4] = {nan_score, 0, 0, 1};
  const std::vector<Index> cutoffs{1, 2, 3};
  for (const auto& recall : retrieval(MatrixView<const float>(values, {2, 2}), {}, cutoffs).image_to_text)
    CHECK(recall.recall == 0.5);
}

TEST_CASE("retrieval refuses bad input") {
  const float values[12] = {};
  const std::vector<std::int64_t> group{1, 2};
  const std::vector<Index> zero{0};
  const MatrixView<const float> square(values, {3, 3}), wide(values, {3, 4});
  vlp::Cpu device;
  CHECK_THROWS_WITH(retrieval(wide), "retrieval: similarity must be square, but is 3 x 4");
  CHECK_THROWS_WITH(retrieval(square, {.image = {}, .text = group}),
                    "retrieval: there are 3 pairs but 2 text ids");
  CHECK_THROWS_WITH(retrieval(square, {.image = group, .text = {}}),
                    "retrieval: there are 3 pairs but 2 image ids");
  CHECK_THROWS_AS(retrieval(square, {}, zero), std::invalid_argument);
  CHECK_THROWS_AS(retrieval(device, square, wide), std::invalid_argument);
}

TEST_CASE("retrieval from embeddings ends when it is asked to") {
  const float values[12] = {};
  const MatrixView<const float> rows(values, {3, 4});
  vlp::Cpu device;
  std::atomic<bool> flag{false};
  const vlp::StopToken stop(flag);
  CHECK_NOTHROW(retrieval(device, rows, rows, {}, vlp::eval::usual_recall_cutoffs, stop));
  flag = true;
  CHECK_THROWS_AS(retrieval(device, rows, rows, {}, vlp::eval::usual_recall_cutoffs, stop), vlp::Stopped);
}
