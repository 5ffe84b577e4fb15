#include "alignment.hpp"
#include "literal.hpp"
#include "literal_contrast.hpp"
#include "pairs.hpp"
#include "support/gradients.hpp"
#include "words_and_regions.hpp"

#include <rapidcheck.h>

#include <vlp/losses/local_alignment.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

// Local alignment on the CPU in double, against its definition.

namespace {

using namespace vlp::test;
using literal::Matrix;
using vlp::BatchView;
using vlp::Index;
using vlp::LocalAlignment;
using vlp::LocalAlignmentForm;
using vlp::LocalAlignmentOptions;
using vlp::Random;

/// The first `rows` rows of matrix i of a batch.
Matrix slice(const Array& batch, Index i, Index rows) {
  const auto all = xt::adapt(batch.values, std::vector<std::size_t>(batch.shape.begin(), batch.shape.end()));
  return xt::view(all, i, xt::range(0, rows), xt::all());
}

/// A2 [W_j, R] of report j in image i, and S[i, j].
struct LiteralPair {
  Matrix attention;
  double score;
};

LiteralPair literal_pair(const Arrays& in, Index i, Index j, const LocalAlignmentOptions& o) {
  const Array& words_array = in.at("words");
  const auto count = in.contains("word_count")
                         ? static_cast<Index>(in.at("word_count").values[static_cast<std::size_t>(j)])
                         : words_array.shape[1];
  const Matrix regions = slice(in.at("regions"), i, in.at("regions").shape[1]);
  const Matrix words = slice(words_array, j, count);
  const Matrix scores = literal::dot(words, literal::transpose(regions));
  const Matrix word_weights = literal::transpose(literal::softmax(literal::transpose(scores)));
  const Matrix attention = literal::softmax(o.attention_temperature * word_weights);
  const Matrix context = literal::dot(attention, regions);
  const Matrix dots = literal::row_sums(words * context);
  const Matrix lengths = literal::norms(words) * literal::norms(context);
  const Matrix cosine = dots / xt::maximum(lengths, 1e-8);
  const double max = xt::amax(cosine)();
  const double sum = xt::sum(xt::exp(o.word_temperature * (cosine - max)))();
  return {attention, o.pair_temperature * (o.word_temperature * max + std::log(sum))};
}

/// S [B, N].
Matrix literal_scores(const Arrays& in, const LocalAlignmentOptions& o) {
  const Index images = in.at("regions").shape[0], reports = in.at("words").shape[0];
  Matrix scores = xt::zeros<double>({images, reports});
  for (Index i = 0; i < images; ++i)
    for (Index j = 0; j < reports; ++j) scores(i, j) = literal_pair(in, i, j, o).score;
  return scores;
}

literal::ContrastBatch literal_batch(const Arrays& in, const LocalAlignmentOptions& o) {
  return literal::contrast_batch<LocalAlignment<double>>(in, o, literal_scores(in, o), o.pair_temperature);
}

double literal_loss(const Arrays& in, const LocalAlignmentOptions& o) {
  return literal::contrast(literal_batch(in, o)).loss;
}

void check_against_literal(const Arrays& arrays, const LocalAlignmentOptions& options) {
  const Told<LocalAlignment<double>> told(arrays, options);
  CHECK(relative_error(number(told.loss), number(literal_loss(arrays, options))) < 1e-11);
  CHECK(relative_error(told.similarity, literal::array(literal_scores(arrays, options))) < 1e-11);
  const Index most = told.attention.shape[1], regions = told.attention.shape[2];
  Array want{told.attention.shape, {}};
  const vlp::PairBlock block = literal_batch(arrays, options).block;
  for (Index i = 0; i < told.attention.shape[0]; ++i) {
    const Matrix attention = literal_pair(arrays, i, block.text_of(i), options).attention;
    want.values.insert(want.values.end(), attention.begin(), attention.end());
    want.values.resize(static_cast<std::size_t>((i + 1) * most * regions));  // 0 in padding
  }
  CHECK(relative_error(told.attention, want, 1) < 1e-11);
}

}  // namespace

TEST_CASE("local alignment agrees with the literal definition") {
  Random random(1);
  for (LocalAlignmentForm form : forms) {
    CAPTURE(static_cast<int>(form));
    check_against_literal(words_and_regions(random, {.batch = 5, .regions = 7, .words = 6, .features = 4}),
                          with_form(form));
    check_against_literal(words_and_regions(random, {.batch = 4, .regions = 3, .words = 1, .features = 9}),
                          with_form(form, LocalAlignmentOptions::gloria()));
    check_against_literal(words_and_regions(random, {.batch = 4, .regions = 1, .words = 5, .features = 3}),
                          with_form(form, LocalAlignmentOptions::published()));
    check_against_literal(
        words_and_regions(random, {.batch = 4, .regions = 9, .words = 5, .features = 3, .ragged = false}),
        with_form(form, {.attention_temperature = 90, .word_temperature = 0.5, .pair_temperature = 3}));
    check_against_literal(large_scores(), with_form(form));
  }
}

TEST_CASE("local alignment with further reports, groups or a margin agrees with the literal definition") {
  Random random(5);
  for (vlp::DuplicatePolicy policy :
       {vlp::DuplicatePolicy::negatives, vlp::DuplicatePolicy::positives, vlp::DuplicatePolicy::ignore})
    for (double smoothing : {0.0, 0.1})
      for (double margin : {std::numeric_limits<double>::infinity(), 0.0, 0.1}) {
        if (smoothing > 0 && std::isfinite(margin)) continue;
        const LocalAlignmentOptions options{.pair_temperature = 3,
                                            .duplicate_policy = policy,
                                            .label_smoothing = smoothing,
                                            .image_to_text_weight = 0.7,
                                            .text_to_image_weight = 0.4,
                                            .false_negative_margin = margin};
        CAPTURE(static_cast<int>(policy), smoothing, margin);
        Arrays arrays = words_and_regions(random, {.batch = 9, .groups = 5});
        check_against_literal(arrays, options);
        arrays["regions"] = normal(random, {4, 4, 6});
        arrays["own_text"] = number(1);
        arrays["own_text_step"] = number(2);
        check_against_literal(arrays, options);
        if (!std::isfinite(margin)) CHECK(gradient_error<LocalAlignment<double>>(options, arrays) < 1e-5);
      }
}

TEST_CASE("local alignment over several tiles of words and strips of images is the same") {
  Random random(2);
  for (LocalAlignmentForm form : forms) {
    // 300 regions make a strip of every image and tiles of about 200 words; 40 regions strips of several
    // images.
    check_against_literal(
        words_and_regions(random, {.batch = 11, .regions = 300, .words = 60, .features = 3}),
        with_form(form));
    check_against_literal(words_and_regions(random, {.batch = 23, .regions = 40, .words = 31, .features = 3}),
                          with_form(form));
    // one report longer than a tile
    check_against_literal(
        words_and_regions(random, {.batch = 2, .regions = 500, .words = 150, .features = 2}),
        with_form(form));
  }
}

TEST_CASE("local alignment gradients agree with central differences") {
  CHECK(rc::check([](std::uint64_t seed) {
    Random random(seed);
    const WordsAndRegions shape{.batch = *rc::gen::inRange<Index>(1, 5),
                                .regions = *rc::gen::inRange<Index>(1, 6),
                                .words = *rc::gen::inRange<Index>(1, 5),
                                .features = *rc::gen::inRange<Index>(2, 6),
                                .groups = *rc::gen::inRange(0, 4)};
    const LocalAlignmentOptions options{
        .attention_temperature = *rc::gen::element(1.0, 4.0),
        .word_temperature = *rc::gen::element(1.0, 5.0),
        .pair_temperature = *rc::gen::element(1.0, 3.0),
        .duplicate_policy = *rc::gen::elementOf(policies),
        .label_smoothing = *rc::gen::element(0.0, 0.1),
        .image_to_text_weight = *rc::gen::element(0.0, 1.0),
        .text_to_image_weight = *rc::gen::element(0.5, 1.0),
        .form = *rc::gen::elementOf(std::vector(std::begin(forms), std::end(forms)))};
    const double error =
        gradient_error<LocalAlignment<double>>(options, words_and_regions(random, shape), 3e-6);
    RC_LOG() << "batch " << shape.batch << ", regions " << shape.regions << ", words " << shape.words
             << ", features " << shape.features << ", error " << error << "\n";
    RC_ASSERT(error < 1e-6);
  }));
  Random random(3);
  for (LocalAlignmentForm form : forms)
    CHECK(directional_error<LocalAlignment<double>>(
              with_form(form),
              words_and_regions(random, {.batch = 9, .regions = 70, .words = 50, .features = 12}),
              random) < 1e-7);
}

TEST_CASE("local alignment says which report has no words, or too many") {
  std::vector<float> memory(1000);
  using L = LocalAlignment<float>;
  const BatchView<float> regions(memory.data(), {3, 4, 2}), words(memory.data(), {3, 5, 2});
  const std::vector<std::int64_t> zero{1, 0, 2}, negative{-1, 1, 1}, long_report{1, 1, 6};
  CHECK(refusal_of<L>({regions, words, zero}) ==
        "local_alignment: word_count of report 1 is 0, not in 1 to 5");
  CHECK(refusal_of<L>({regions, words, negative}) ==
        "local_alignment: word_count of report 0 is -1, not in 1 to 5");
  CHECK(refusal_of<L>({regions, words, long_report}) ==
        "local_alignment: word_count of report 2 is 6, not in 1 to 5");
  CHECK(refusal_of<L>({regions, words, {}, {}, 14}) ==
        "local_alignment: word_capacity is 14 but the reports have 15 words");
}
