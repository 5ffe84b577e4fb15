#include "literal.hpp"
#include "support/gradients.hpp"
#include "token_alignment.hpp"
#include "words_and_regions.hpp"

#include <rapidcheck.h>

#include <vlp/losses/token_alignment.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>

// Token alignment on the CPU in double, against its definition.

namespace {

using namespace vlp::test;
using literal::Matrix;
using vlp::Index;
using vlp::Random;
using vlp::TokenAlignment;
using vlp::TokenAlignmentOptions;

/// Mean over the rows of -log softmax(z)[w, w].
double cross_entropy(const Matrix& z) {
  const Matrix max = literal::row_maxima(z);
  const Matrix lse = max + xt::log(literal::row_sums(xt::exp(z - max)));
  double sum = 0;
  for (std::size_t w = 0; w < z.shape(0); ++w) sum += lse(w, 0) - z(w, w);
  return sum / static_cast<double>(z.shape(0));
}

xt::xtensor<double, 3> batch_of(const Array& array) {
  return xt::adapt(array.values,
                   {static_cast<std::size_t>(array.shape[0]), static_cast<std::size_t>(array.shape[1]),
                    static_cast<std::size_t>(array.shape[2])});
}

struct Literal : literal::Result {
  Array attention;  // [B, W, R]
};

/// The loss, its gradients and the attention, one pair after the other.
Literal literal_token_alignment(const Arrays& in, const TokenAlignmentOptions& o = {}) {
  using literal::dot, literal::transpose, literal::normalize, literal::normalize_backward;
  const auto regions = batch_of(in.at("regions")), words = batch_of(in.at("words"));
  const std::size_t batch = words.shape(0);
  xt::xtensor<double, 3> d_regions = xt::zeros_like(regions), d_words = xt::zeros<double>(words.shape());
  xt::xtensor<double, 3> attention = xt::zeros<double>({batch, words.shape(1), regions.shape(1)});
  Literal out;
  for (std::size_t b = 0; b < batch; ++b) {
    const Index count = word_count(in, static_cast<Index>(b));
    const Matrix raw_words = xt::view(words, b, xt::range(0, count), xt::all());
    const Matrix raw_regions = xt::view(regions, b, xt::all(), xt::all());
    const Matrix x = normalize(raw_words), p = normalize(raw_regions);
    const Matrix a = literal::softmax(dot(x, transpose(p)) / o.attention_temperature);
    const Matrix c = dot(a, p), unit_contexts = normalize(c);
    const Matrix z = dot(x, transpose(unit_contexts)) / o.contrast_temperature;
    out.loss += (cross_entropy(z) + cross_entropy(transpose(z))) / static_cast<double>(2 * batch);

    const Matrix both = literal::softmax(z) + transpose(literal::softmax(transpose(z)));
    const Matrix d_cosines =
        (both - 2 * xt::eye<double>(z.shape(0))) /
        (static_cast<double>(2 * count) * static_cast<double>(batch) * o.contrast_temperature);
    const Matrix dc = normalize_backward(c, dot(transpose(d_cosines), x));
    const Matrix da = dot(dc, transpose(p));
    const Matrix ds = a * (da - literal::row_sums(a * da)) / o.attention_temperature;
    const Matrix dx = dot(d_cosines, unit_contexts) + dot(ds, p),
                 dp = dot(transpose(a), dc) + dot(transpose(ds), x);
    xt::view(d_words, b, xt::range(0, count), xt::all()) = normalize_backward(raw_words, dx);
    xt::view(d_regions, b, xt::all(), xt::all()) = normalize_backward(raw_regions, dp);
    xt::view(attention, b, xt::range(0, count), xt::all()) = a;
  }
  const auto array = [](const xt::xtensor<double, 3>& t) {
    return Array{{t.shape().begin(), t.shape().end()}, {t.begin(), t.end()}};
  };
  out.gradients = {{"regions", array(d_regions)}, {"words", array(d_words)}};
  out.attention = array(attention);
  return out;
}

void check_against_literal(const Arrays& arrays, const TokenAlignmentOptions& options) {
  const Literal want = literal_token_alignment(arrays, options);
  CAPTURE(options.attention_temperature, options.contrast_temperature, want.loss);
  LossCase<TokenAlignment<double>> got(arrays);
  CHECK(relative_error(number(got.run(options, 2)), number(want.loss)) < 1e-11);
  CHECK(relative_error(got.gradient_values(), want.gradients) < 1e-10);
  CHECK(relative_error(attention_of<TokenAlignment<double>>(arrays, options), want.attention) < 1e-10);
}

}  // namespace

TEST_CASE("token alignment agrees with the literal definition") {
  Random random(1);
  check_against_literal(words_and_regions(random, {.batch = 5, .regions = 7, .words = 6, .features = 4}), {});
  check_against_literal(words_and_regions(random, {.batch = 4, .regions = 1, .words = 5, .features = 3}), {});
  check_against_literal(words_and_regions(random, {.batch = 1, .regions = 3, .words = 4, .features = 9}), {});
  check_against_literal(words_and_regions(random, {.batch = 7, .regions = 50, .words = 33, .features = 21}),
                        {.attention_temperature = 0.3, .contrast_temperature = 0.05});
  check_against_literal(
      words_and_regions(random, {.batch = 3, .regions = 6, .words = 4, .features = 1, .ragged = false}), {});
}

TEST_CASE("token alignment agrees with the literal definition at very large and very small temperatures") {
  Random random(2);
  const Arrays arrays = words_and_regions(random, {.batch = 4, .regions = 9, .words = 6, .features = 5});
  for (double attention : {1e-4, 1.0, 1e6})
    for (double contrast : {1e-4, 1.0, 1e6}) check_against_literal(arrays, {attention, contrast});
}

TEST_CASE("token alignment of zero words and regions agrees with the literal definition") {
  const Arrays arrays = zero_tokens();
  const Literal want = literal_token_alignment(arrays);
  LossCase<TokenAlignment<double>> got(arrays);
  CHECK(relative_error(number(got.run({})), number(want.loss)) < 1e-12);
  CHECK(row_error(got.gradient_values(), want.gradients) < 1e-10);
}

TEST_CASE("token alignment gradients agree with central differences") {
  CHECK(rc::check([](std::uint64_t seed) {
    Random random(seed);
    const WordsAndRegions shape{.batch = *rc::gen::inRange<Index>(1, 5),
                                .regions = *rc::gen::inRange<Index>(1, 7),
                                .words = *rc::gen::inRange<Index>(1, 7),
                                .features = *rc::gen::inRange<Index>(6, 12)};
    const TokenAlignmentOptions options{.attention_temperature = *rc::gen::element(0.3, 1.0),
                                        .contrast_temperature = *rc::gen::element(0.3, 1.0)};
    const double error = gradient_error<TokenAlignment<double>>(options, words_and_regions(random, shape));
    RC_LOG() << "batch " << shape.batch << ", regions " << shape.regions << ", words " << shape.words
             << ", features " << shape.features << ", error " << error << "\n";
    RC_ASSERT(error < 1e-6);
  }));
  Random random(3);
  CHECK(directional_error<TokenAlignment<double>>(
            {}, words_and_regions(random, {.batch = 6, .regions = 49, .words = 30, .features = 20}), random) <
        1e-7);
}
