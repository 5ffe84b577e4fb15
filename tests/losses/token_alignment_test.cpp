#include "literal.hpp"
#include "support/golden.hpp"
#include "support/gradients.hpp"
#include "words_and_regions.hpp"

#include <rapidcheck.h>

#include <vlp/losses/token_alignment.hpp>

#include <limits>
#include <string>
#include <vector>

namespace {

using namespace vlp::test;
using literal::Matrix;
using vlp::BatchView;
using vlp::Cpu;
using vlp::Index;
using vlp::Random;
using vlp::TokenAlignment;
using vlp::TokenAlignmentOptions;

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// Softmax of each row.
Matrix softmax(const Matrix& x) {
  const Matrix e = xt::exp(x - literal::row_maxima(x));
  return e / literal::row_sums(e);
}

/// Mean over the rows of -log softmax(z)[w, w].
double cross_entropy(const Matrix& z) {
  const Matrix max = literal::row_maxima(z);
  const Matrix lse = max + xt::log(literal::row_sums(xt::exp(z - max)));
  double sum = 0;
  for (std::size_t w = 0; w < z.shape(0); ++w) sum += lse(w, 0) - z(w, w);
  return sum / static_cast<double>(z.shape(0));
}

Index word_count(const Arrays& in, Index b) {
  return in.contains("word_count")
             ? static_cast<Index>(in.at("word_count").values[static_cast<std::size_t>(b)])
             : in.at("words").shape[1];
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
    const Matrix a = softmax(dot(x, transpose(p)) / o.attention_temperature);
    const Matrix c = dot(a, p), seen = normalize(c);
    const Matrix z = dot(x, transpose(seen)) / o.contrast_temperature;
    out.loss += (cross_entropy(z) + cross_entropy(transpose(z))) / static_cast<double>(2 * batch);

    const Matrix both = softmax(z) + transpose(softmax(transpose(z)));
    const Matrix d_cosines =
        (both - 2 * xt::eye<double>(z.shape(0))) /
        (static_cast<double>(2 * count) * static_cast<double>(batch) * o.contrast_temperature);
    const Matrix dc = normalize_backward(c, dot(transpose(d_cosines), x));
    const Matrix da = dot(dc, transpose(p));
    const Matrix ds = a * (da - literal::row_sums(a * da)) / o.attention_temperature;
    const Matrix dx = dot(d_cosines, seen) + dot(ds, p), dp = dot(transpose(a), dc) + dot(transpose(ds), x);
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

/// The attention that forward writes.
template <class Scalar>
Array attention_of(const Arrays& arrays, const TokenAlignmentOptions& options, int threads = 2) {
  LossCase<TokenAlignment<Scalar>> given(arrays);
  Array out{{given.inputs.words.extent(0), given.inputs.words.extent(1), given.inputs.regions.extent(1)}, {}};
  std::vector<Scalar> memory(static_cast<std::size_t>(out.shape[0] * out.shape[1] * out.shape[2]),
                             Scalar(not_a_number));
  Cpu device(threads);
  TokenAlignment<Scalar>(options).forward(
      device, given.inputs, {nullptr, {memory.data(), {out.shape[0], out.shape[1], out.shape[2]}}});
  out.values.assign(memory.begin(), memory.end());
  return out;
}

/// Largest relative error of any row of any matrix, each relative to its own largest number.
double row_error(const Arrays& got, const Arrays& want) {
  double error = 0;
  for (const auto& [name, array] : want) {
    const std::vector<double>& other = got.at(name).values;
    const auto width = static_cast<std::ptrdiff_t>(array.shape.back());
    for (std::ptrdiff_t at = 0; at < static_cast<std::ptrdiff_t>(other.size()); at += width) {
      const Array row{{width}, {array.values.begin() + at, array.values.begin() + at + width}};
      error =
          std::max(error, relative_error({{width}, {other.begin() + at, other.begin() + at + width}}, row));
    }
  }
  return error;
}

void check_against_literal(const Arrays& arrays, const TokenAlignmentOptions& options) {
  const Literal want = literal_token_alignment(arrays, options);
  CAPTURE(options.attention_temperature, options.contrast_temperature, want.loss);
  LossCase<TokenAlignment<double>> got(arrays);
  CHECK(relative_error(number(got.run(options, 2)), number(want.loss)) < 1e-11);
  CHECK(relative_error(got.gradient_values(), want.gradients) < 1e-10);
  CHECK(relative_error(attention_of<double>(arrays, options), want.attention) < 1e-10);
}

}  // namespace

TEMPLATE_TEST_CASE("token alignment agrees with the golden vectors", "", float, double) {
  check_golden<TokenAlignment<TestType>>();
}

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

TEST_CASE("token alignment holds at very large and very small temperatures") {
  Random random(2);
  const Arrays arrays = words_and_regions(random, {.batch = 4, .regions = 9, .words = 6, .features = 5});
  for (double attention : {1e-4, 1.0, 1e6})
    for (double contrast : {1e-4, 1.0, 1e6}) {
      const TokenAlignmentOptions options{attention, contrast};
      check_against_literal(arrays, options);
      const Literal want = literal_token_alignment(arrays, options);
      LossCase<TokenAlignment<float>> single(arrays);
      CHECK(relative_error(number(single.run(options)), number(want.loss)) < 1e-5);
      const Arrays gradients = single.gradient_values();
      CHECK(relative_error(gradients, gradients) == 0);  // finite
      CHECK(relative_error(attention_of<float>(arrays, options), want.attention) < 1e-6 + 1e-6 / attention);
    }
  // One region: attention is 1 and has no gradient, whose rounding a small temperature would blow up.
  const Arrays one = words_and_regions(random, {.batch = 3, .regions = 1, .words = 5, .features = 40});
  LossCase<TokenAlignment<float>> single(one);
  single.run({.attention_temperature = 1e-6});
  CHECK(relative_error(single.gradient_values(),
                       literal_token_alignment(one, {.attention_temperature = 1e-6}).gradients) < 1e-5);
  // Attention is uniform, so that all words see the same and none can be told from the others.
  Arrays equal =
      words_and_regions(random, {.batch = 3, .regions = 4, .words = 5, .features = 6, .ragged = false});
  CHECK(LossCase<TokenAlignment<double>>(equal).run(
            {.attention_temperature = 1e6, .contrast_temperature = 1e6}) == Approx(std::log(5.0)));
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

TEMPLATE_TEST_CASE("token alignment keeps to the contract of a loss", "", float, double) {
  Random random(4);
  check_loss_contract<TokenAlignment<TestType>>(
      {}, words_and_regions(random, {.batch = 5, .regions = 4, .words = 6, .features = 7}));
  check_loss_contract<TokenAlignment<TestType>>(
      {.attention_temperature = 0.5, .contrast_temperature = 0.2},
      words_and_regions(random, {.batch = 14, .regions = 60, .words = 19, .features = 35}));
}

TEMPLATE_TEST_CASE("attention of token alignment sums to 1 and is 0 in padding whatever the threads", "",
                   float, double) {
  Random random(5);
  const Arrays arrays = words_and_regions(random, {.batch = 6, .regions = 11, .words = 7, .features = 5});
  const Array attention = attention_of<TestType>(arrays, {}, 1);
  CHECK(same_bits({{"", attention}}, {{"", attention_of<TestType>(arrays, {}, 3)}}));
  for (Index b = 0; b < 6; ++b)
    for (Index w = 0; w < 7; ++w) {
      const auto row = attention.values.begin() + (b * 7 + w) * 11;
      if (w < word_count(arrays, b))
        CHECK(std::accumulate(row, row + 11, 0.0) == Approx(1));
      else
        CHECK(std::all_of(row, row + 11, [](double a) { return a == 0; }));
    }
}

TEST_CASE("padding of reports does not count in token alignment") {
  Random random(6);
  const WordsAndRegions shape{.batch = 6, .regions = 8, .words = 5, .features = 4};
  const Arrays arrays = words_and_regions(random, shape);  // NaN in padding
  const Index more = shape.words + 3;
  Arrays wide = arrays;
  wide["words"] = {
      {shape.batch, more, shape.features},
      std::vector<double>(static_cast<std::size_t>(shape.batch * more * shape.features), not_a_number)};
  const Index width = shape.words * shape.features;
  for (Index b = 0; b < shape.batch; ++b)
    std::copy_n(arrays.at("words").values.begin() + b * width, width,
                wide.at("words").values.begin() + b * more * shape.features);

  LossCase<TokenAlignment<double>> plain(arrays), padded(wide);
  CHECK(plain.run({}) == padded.run({}));
  const Arrays want = plain.gradient_values(), got = padded.gradient_values();
  CHECK(got.at("regions").values == want.at("regions").values);
  for (Index b = 0; b < shape.batch; ++b)
    for (Index w = 0; w < more; ++w)
      for (Index d = 0; d < shape.features; ++d)
        REQUIRE(padded.gradients.words(b, w, d) ==
                (w < word_count(arrays, b) ? plain.gradients.words(b, w, d) : 0.0));
}

TEST_CASE("without word counts all words of a report are aligned") {
  Random random(7);
  Arrays arrays =
      words_and_regions(random, {.batch = 4, .regions = 5, .words = 6, .features = 3, .ragged = false});
  LossCase<TokenAlignment<double>> counted(arrays);
  arrays.erase("word_count");
  LossCase<TokenAlignment<double>> bare(arrays);
  CHECK(bare.run({}) == counted.run({}));
  CHECK(same_bits(bare.gradient_values(), counted.gradient_values()));
}

TEMPLATE_TEST_CASE("token alignment of reports of one word is nothing", "", float, double) {
  Random random(8);
  for (Index batch : {1, 4}) {
    LossCase<TokenAlignment<TestType>> one(
        words_and_regions(random, {.batch = batch, .words = 1, .ragged = false}));
    CHECK(one.run({}) == 0);
    for (const auto& [name, gradient] : one.gradient_values())
      for (double g : gradient.values) REQUIRE(g == 0);
  }
}

TEST_CASE("token alignment of one word many times is the logarithm of its number") {
  Random random(9);
  Arrays arrays =
      words_and_regions(random, {.batch = 3, .regions = 5, .words = 4, .features = 6, .ragged = false});
  auto& words = arrays.at("words").values;
  for (Index b = 0; b < 3; ++b)
    for (Index w = 1; w < 4; ++w) std::copy_n(words.begin() + b * 24, 6, words.begin() + b * 24 + w * 6);
  CHECK(LossCase<TokenAlignment<double>>(arrays).run({}) == Approx(std::log(4.0)));

  // Two of four words alike, the others told apart from all: log 2 for half of the words.
  arrays = words_and_regions(random, {.batch = 1, .regions = 3, .words = 4, .features = 3, .ragged = false});
  arrays.at("regions").values = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  arrays.at("words").values = {5, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 7};
  CHECK(LossCase<TokenAlignment<double>>(arrays).run(
            {.attention_temperature = 0.01, .contrast_temperature = 0.01}) == Approx(std::log(2.0) / 2));
}

TEST_CASE("token alignment gradients of words that are well told apart are exact in float") {
  const Arrays arrays{{"regions", {{1, 3, 3}, {1, 0, 0, 0, 1, 0, 0, 0, 1}}},
                      {"words", {{1, 3, 3}, {5, 1, 0, 0, 4, 1, 1, 0, 6}}}};
  const TokenAlignmentOptions options{.contrast_temperature = 0.07};
  LossCase<TokenAlignment<float>> single(arrays);
  CHECK(single.run(options) < 1e-4);
  CHECK(relative_error(single.gradient_values(), literal_token_alignment(arrays, options).gradients) < 2e-5);
}

TEMPLATE_TEST_CASE("token alignment of zero words and regions has finite gradients", "", float, double) {
  Random random(10);
  Arrays arrays =
      words_and_regions(random, {.batch = 4, .regions = 5, .words = 3, .features = 6, .ragged = false});
  std::fill_n(arrays.at("words").values.begin(), 6, 0.0);                                         // a word
  for (int d = 18; d < 24; ++d) arrays.at("words").values[static_cast<std::size_t>(d)] *= 1e-13;  // another
  std::fill_n(arrays.at("regions").values.begin() + 60 + 6, 6, 0.0);                              // a region
  const Literal want = literal_token_alignment(arrays);
  LossCase<TokenAlignment<TestType>> got(arrays);
  const bool single = std::is_same_v<TestType, float>;
  CHECK(relative_error(number(static_cast<double>(got.run({}))), number(want.loss)) <
        (single ? 1e-6 : 1e-12));
  CHECK(row_error(got.gradient_values(), want.gradients) < (single ? 2e-5 : 1e-10));

  // All words of a report and all regions of an image: their gradients cancel but for rounding, which is then
  // divided by the smallest norm.
  std::fill_n(arrays.at("regions").values.begin() + 30, 30, 0.0);
  std::fill_n(arrays.at("words").values.begin() + 54, 18, 0.0);
  LossCase<TokenAlignment<TestType>> nothing(arrays);
  CHECK(std::isfinite(nothing.run({})));
  const Arrays gradients = nothing.gradient_values();
  CHECK(relative_error(gradients, gradients) == 0);
}

TEMPLATE_TEST_CASE("token alignment does not depend on the lengths of words and regions", "", float, double) {
  Random random(11);
  const Arrays arrays = words_and_regions(random, {.batch = 3, .regions = 5, .words = 4, .features = 6});
  const auto value = LossCase<TokenAlignment<TestType>>(arrays).run({});
  for (double factor : {1e-9, 1e15}) {
    Arrays scaled = arrays;
    for (const char* name : {"regions", "words"})
      for (double& v : scaled.at(name).values) v *= factor;
    LossCase<TokenAlignment<TestType>> other(scaled);
    CHECK(other.run({}) == Approx(value).epsilon(1e-5));
    Arrays want = literal_token_alignment(arrays).gradients, got = other.gradient_values();
    for (auto& [name, array] : got)
      for (double& v : array.values) v *= factor;
    CHECK(relative_error(got, want) < (std::is_same_v<TestType, float> ? 2e-5 : 1e-10));
  }
}

TEMPLATE_TEST_CASE("token alignment of a batch with a NaN is NaN", "", float, double) {
  Random random(12);
  for (const char* name : {"regions", "words"})
    for (double bad : {not_a_number, std::numeric_limits<double>::infinity()}) {
      Arrays arrays =
          words_and_regions(random, {.batch = 3, .regions = 20, .words = 18, .features = 6, .ragged = false});
      arrays.at(name).values[45] = bad;
      LossCase<TokenAlignment<TestType>> broken(arrays);
      CHECK(std::isnan(broken.run({})));
      const std::vector<double> gradient = broken.gradient_values().at(name).values;
      CHECK(std::isnan(gradient[45]));
      CHECK(std::isfinite(gradient.back()));  // of another pair
    }
}

TEST_CASE("token alignment reaches beyond 2^31 elements") {
  check_far_apart<TokenAlignment<float>>(Index{2} << 31, Index{1} << 31);
}

TEST_CASE("token alignment options") {
  const std::string name = "token_alignment: ";
  for (double bad : {0.0, -1.0, not_a_number, std::numeric_limits<double>::infinity()}) {
    CHECK_THROWS_WITH(TokenAlignment<float>({.attention_temperature = bad}),
                      ContainsSubstring(name + "attention_temperature must be finite and above 0, but is "));
    CHECK_THROWS_WITH(TokenAlignment<float>({.contrast_temperature = bad}),
                      ContainsSubstring(name + "contrast_temperature must be finite and above 0, but is "));
  }
}

TEST_CASE("token alignment says what does not fit") {
  std::vector<float> memory(1000);
  const auto batch = [&](Index b, Index rows, Index features) {
    return BatchView<float>(memory.data(), {b, rows, features});
  };
  using L = TokenAlignment<float>;
  const std::string name = "token_alignment: ";
  const std::vector<std::int64_t> two{1, 2}, zero{1, 0, 2}, long_report{1, 1, 6};
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2)}) == "no error");
  CHECK_THAT(refusal_of<L>({batch(3, 4, 2), batch(2, 5, 2)}),
             ContainsSubstring(name + "regions is 3 x 4 x 2 but words is 2 x 5 x 2"));
  CHECK_THAT(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 3)}),
             ContainsSubstring(name + "regions is 3 x 4 x 2 but words is 3 x 5 x 3"));
  CHECK_THAT(refusal_of<L>({{}, batch(3, 5, 3)}), ContainsSubstring(name + "regions is 0 x 0 x 0"));
  CHECK_THAT(refusal_of<L>({batch(3, 4, 2), batch(3, 0, 2)}), ContainsSubstring(name + "words is 3 x 0 x 2"));
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2), two}) ==
        name + "word_count has 2 numbers but words has 3 reports");
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2), zero}) ==
        name + "word_count of report 1 is 0, not in 1 to 5");
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2), long_report}) ==
        name + "word_count of report 2 is 6, not in 1 to 5");
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2)}, {}, {.attention = batch(3, 4, 5)}) ==
        name + "attention is 3 x 4 x 5, not 3 x 5 x 4");
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2)}, {.regions = batch(3, 5, 2)}) ==
        name + "the gradient of regions is 3 x 5 x 2 but regions is 3 x 4 x 2");
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2)}, {.words = batch(3, 4, 2)}) ==
        name + "the gradient of words is 3 x 4 x 2 but words is 3 x 5 x 2");

  Cpu device(1);
  L loss;
  CHECK_THROWS_WITH(loss.backward(device, {batch(3, 4, 2), batch(3, 5, 2)}, 1, {}),
                    ContainsSubstring(name + "backward needs the inputs of the last forward"));
  loss.forward(device, {batch(3, 4, 2), batch(3, 5, 2)}, {});
  CHECK_THROWS_WITH(
      loss.backward(device, {batch(3, 4, 2), batch(3, 6, 2)}, 1, {}),
      ContainsSubstring("where regions was 3 x 4 x 2 with 5 words, but regions is 3 x 4 x 2 with 6"));
}
