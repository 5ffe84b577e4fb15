#include "literal.hpp"
#include "pairs.hpp"
#include "support/golden.hpp"
#include "support/gradients.hpp"
#include "words_and_regions.hpp"

#include <rapidcheck.h>

#include <vlp/losses/local_alignment.hpp>

#include <limits>
#include <string>
#include <vector>

namespace {

using namespace vlp::test;
using vlp::BatchView;
using vlp::Cpu;
using vlp::DuplicatePolicy;
using vlp::Index;
using vlp::LocalAlignment;
using vlp::LocalAlignmentForm;
using vlp::LocalAlignmentOptions;
using vlp::MatrixView;
using vlp::Random;

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr LocalAlignmentForm forms[] = {LocalAlignmentForm::gram, LocalAlignmentForm::direct};

LocalAlignmentOptions with_form(LocalAlignmentForm form, LocalAlignmentOptions options = {}) {
  options.form = form;
  return options;
}

using literal::Matrix;

/// Softmax of each row.
Matrix softmax(const Matrix& x) {
  const Matrix e = xt::exp(x - literal::row_maxima(x));
  return e / literal::row_sums(e);
}

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
  const Matrix word_weights = literal::transpose(softmax(literal::transpose(scores)));
  const Matrix attention = softmax(o.attention_temperature * word_weights);
  const Matrix context = literal::dot(attention, regions);
  const Matrix dot = literal::row_sums(words * context);
  const Matrix lengths = literal::norms(words) * literal::norms(context);
  const Matrix cosine = dot / xt::maximum(lengths, 1e-8);
  const double max = xt::amax(cosine)();
  const double sum = xt::sum(xt::exp(o.word_temperature * (cosine - max)))();
  return {attention, o.pair_temperature * (o.word_temperature * max + std::log(sum))};
}

Matrix literal_scores(const Arrays& in, const LocalAlignmentOptions& o) {
  const Index batch = in.at("regions").shape[0];
  Matrix scores = xt::zeros<double>({batch, batch});
  for (Index i = 0; i < batch; ++i)
    for (Index j = 0; j < batch; ++j) scores(i, j) = literal_pair(in, i, j, o).score;
  return scores;
}

/// Cross-entropy of the rows, with the ids ignored.
double row_loss(const Matrix& scores) {
  double loss = 0;
  for (std::size_t i = 0; i < scores.shape(0); ++i) {
    const auto row = xt::row(scores, static_cast<std::ptrdiff_t>(i));
    const double max = xt::amax(row)();
    loss += max + std::log(xt::sum(xt::exp(row - max))()) - scores(i, i);
  }
  return loss / static_cast<double>(scores.shape(0));
}

double literal_loss(const Arrays& in, const LocalAlignmentOptions& o) {
  const Matrix scores = literal_scores(in, o);
  return o.image_to_text_weight * row_loss(scores) +
         o.text_to_image_weight * row_loss(literal::transpose(scores));
}

/// Everything that forward can tell.
template <class Scalar>
struct Told {
  Told(const Arrays& arrays, const LocalAlignmentOptions& options, int threads = 2) {
    LossCase<LocalAlignment<Scalar>> given(arrays);
    const Index batch = given.inputs.words.extent(0), words = given.inputs.words.extent(1),
                regions = given.inputs.regions.extent(1);
    similarity_memory.assign(static_cast<std::size_t>(batch * batch), Scalar(not_a_number));
    attention_memory.assign(static_cast<std::size_t>(batch * words * regions), Scalar(not_a_number));
    similarity = {similarity_memory.data(), {batch, batch}};
    attention = {attention_memory.data(), {batch, words, regions}};
    Cpu device(threads);
    LocalAlignment<Scalar>(options).forward(device, given.inputs, {&loss, similarity, attention});
  }

  typename LocalAlignment<Scalar>::Accumulator loss{};
  std::vector<Scalar> similarity_memory, attention_memory;
  MatrixView<Scalar> similarity;
  BatchView<Scalar> attention;
};

void check_against_literal(const Arrays& arrays, const LocalAlignmentOptions& options) {
  const Told<double> told(arrays, options);
  CHECK(relative_error(number(told.loss), number(literal_loss(arrays, options))) < 1e-11);
  const Matrix want = literal_scores(arrays, options);
  const Index batch = told.similarity.rows();
  const Array got{{batch, batch}, told.similarity_memory};
  CHECK(relative_error(got, literal::array(want)) < 1e-11);
  for (Index j = 0; j < batch; ++j) {
    const Matrix attention = literal_pair(arrays, j, j, options).attention;
    double error = 0;
    for (Index w = 0; w < told.attention.extent(1); ++w)
      for (Index r = 0; r < told.attention.extent(2); ++r) {
        const bool padding = w >= static_cast<Index>(attention.shape(0));
        error = std::max(error, std::abs(told.attention(j, w, r) - (padding ? 0.0 : attention(w, r))));
        if (std::isnan(told.attention(j, w, r))) error = not_a_number;
      }
    CHECK(error < 1e-11);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("local alignment agrees with the golden vectors", "", float, double) {
  check_golden<LocalAlignment<TestType>>();
}

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

TEST_CASE("the Gram form and the direct form of local alignment agree") {
  Random random(4);
  for (const WordsAndRegions& shape :
       {WordsAndRegions{.batch = 7, .regions = 30, .words = 12, .features = 5},
        WordsAndRegions{.batch = 12, .regions = 200, .words = 40, .features = 17}}) {
    const Arrays arrays = words_and_regions(random, shape);
    LossCase<LocalAlignment<double>> gram(arrays), direct(arrays), automatic(arrays);
    const double value = gram.run(with_form(LocalAlignmentForm::gram));
    CHECK(direct.run(with_form(LocalAlignmentForm::direct)) == Approx(value).epsilon(1e-12));
    CHECK(automatic.run({}) == Approx(value).epsilon(1e-12));
    CHECK(relative_error(direct.gradient_values(), gram.gradient_values()) < 1e-11);
    CHECK(relative_error(automatic.gradient_values(), gram.gradient_values()) < 1e-11);
  }
}

TEMPLATE_TEST_CASE("local alignment keeps to the contract of a loss", "", float, double) {
  Random random(5);
  for (LocalAlignmentForm form : forms) {
    check_loss_contract<LocalAlignment<TestType>>(
        with_form(form), words_and_regions(random, {.batch = 5, .regions = 4, .words = 6, .features = 7}));
    check_loss_contract<LocalAlignment<TestType>>(
        with_form(form, {.duplicate_policy = DuplicatePolicy::ignore, .label_smoothing = 0.1}),
        words_and_regions(random, {.batch = 14, .regions = 60, .words = 9, .features = 20, .groups = 6}));
    check_loss_contract<LocalAlignment<TestType>>(
        with_form(form, {.duplicate_policy = DuplicatePolicy::positives}),
        words_and_regions(random, {.batch = 6, .regions = 270, .words = 60, .features = 11, .groups = 3}));
  }
}

TEST_CASE("padding of reports never counts") {
  Random random(6);
  const WordsAndRegions shape{.batch = 6, .regions = 8, .words = 5, .features = 4};
  const Arrays arrays = words_and_regions(random, shape);
  Arrays padded = arrays;
  const Index more = shape.words + 3;
  padded["words"] = {
      {shape.batch, more, shape.features},
      std::vector<double>(static_cast<std::size_t>(shape.batch * more * shape.features), not_a_number)};
  const auto offset = [&](Index words, Index j, Index w) { return (j * words + w) * shape.features; };
  for (Index j = 0; j < shape.batch; ++j)
    for (Index w = 0; w < static_cast<Index>(arrays.at("word_count").values[static_cast<std::size_t>(j)]);
         ++w)
      std::copy_n(arrays.at("words").values.begin() + offset(shape.words, j, w), shape.features,
                  padded.at("words").values.begin() + offset(more, j, w));

  for (LocalAlignmentForm form : forms) {
    LossCase<LocalAlignment<double>> plain(arrays), wide(padded);
    CHECK(plain.run(with_form(form)) == wide.run(with_form(form)));
    const Arrays want = plain.gradient_values(), got = wide.gradient_values();
    CHECK(got.at("regions").values == want.at("regions").values);
    for (Index j = 0; j < shape.batch; ++j)
      for (Index w = 0; w < more; ++w)
        for (Index d = 0; d < shape.features; ++d) {
          const bool word =
              w < static_cast<Index>(arrays.at("word_count").values[static_cast<std::size_t>(j)]);
          const double expected =
              word ? want.at("words").values[static_cast<std::size_t>(offset(shape.words, j, w) + d)] : 0.0;
          REQUIRE(got.at("words").values[static_cast<std::size_t>(offset(more, j, w) + d)] == expected);
        }
  }
}

TEST_CASE("without word counts all words of a report count") {
  Random random(7);
  Arrays arrays =
      words_and_regions(random, {.batch = 4, .regions = 5, .words = 6, .features = 3, .ragged = false});
  LossCase<LocalAlignment<double>> counted(arrays);
  arrays.erase("word_count");
  LossCase<LocalAlignment<double>> bare(arrays);
  CHECK(bare.run({}) == counted.run({}));
  CHECK(same_bits(bare.gradient_values(), counted.gradient_values()));
}

TEMPLATE_TEST_CASE("local alignment of one pair is nothing", "", float, double) {
  Random random(8);
  LossCase<LocalAlignment<TestType>> one(words_and_regions(random, {.batch = 1}));
  CHECK(one.run({}) == 0);
  for (const auto& [name, gradient] : one.gradient_values())
    for (double g : gradient.values) REQUIRE(g == 0);
}

TEST_CASE("equal pairs cannot be told apart locally") {
  Random random(9);
  Arrays arrays =
      words_and_regions(random, {.batch = 4, .regions = 5, .words = 3, .features = 6, .ragged = false});
  for (const char* name : {"regions", "words"}) {
    auto& values = arrays.at(name).values;
    const auto width = static_cast<std::ptrdiff_t>(values.size() / 4);
    for (int i = 1; i < 4; ++i) std::copy_n(values.begin(), width, values.begin() + i * width);
  }
  LossCase<LocalAlignment<double>> equal(arrays);
  CHECK(equal.run({}) == Approx(std::log(4.0)));
}

TEMPLATE_TEST_CASE("local alignment stays finite with zero words and regions and with large scores", "",
                   float, double) {
  Random random(10);
  for (LocalAlignmentForm form : forms) {
    Arrays arrays = words_and_regions(random, {.batch = 4, .regions = 5, .words = 3, .features = 6});
    std::fill_n(arrays.at("words").values.begin(), 6, 0.0);             // a word
    std::fill_n(arrays.at("regions").values.begin() + 30, 30, 0.0);     // all regions of an image
    std::fill_n(arrays.at("regions").values.begin() + 60 + 6, 6, 0.0);  // a region
    LossCase<LocalAlignment<TestType>> zeros(arrays);
    CHECK(std::isfinite(zeros.run(with_form(form))));
    CHECK(relative_error(zeros.gradient_values(), zeros.gradient_values()) == 0);

    arrays = words_and_regions(random, {.batch = 4, .regions = 5, .words = 3, .features = 6, .scale = 100});
    for (double& v : arrays.at("words").values) v *= 100;  // scores of +-1e4 and more
    LossCase<LocalAlignment<TestType>> large(arrays);
    const double value = static_cast<double>(large.run(with_form(form)));
    CHECK(value == Approx(literal_loss(arrays, {})).epsilon(1e-4));
    CHECK(relative_error(large.gradient_values(), large.gradient_values()) == 0);
  }
}

TEST_CASE("local alignment reaches beyond 2^31 elements") {
  check_far_apart<LocalAlignment<float>>(Index{1} << 31, 3);
}

TEST_CASE("local alignment options") {
  CHECK(LocalAlignmentOptions::gloria().image_to_text_weight == 1);
  CHECK(LocalAlignmentOptions::gloria().text_to_image_weight == 1);
  CHECK(LocalAlignmentOptions::published().image_to_text_weight == 1);
  CHECK(LocalAlignmentOptions::published().text_to_image_weight == 0.5);
  for (double bad : {0.0, -1.0, not_a_number, std::numeric_limits<double>::infinity()}) {
    CHECK_THROWS_WITH(LocalAlignment<float>({.attention_temperature = bad}),
                      ContainsSubstring("local_alignment: attention_temperature must be finite and above 0"));
    CHECK_THROWS_AS(LocalAlignment<float>({.word_temperature = bad}), std::invalid_argument);
    CHECK_THROWS_AS(LocalAlignment<float>({.pair_temperature = bad}), std::invalid_argument);
  }
  CHECK_THROWS_AS(LocalAlignment<float>({.label_smoothing = 1}), std::invalid_argument);
  CHECK_THROWS_AS(LocalAlignment<float>({.image_to_text_weight = -1}), std::invalid_argument);
}

TEST_CASE("local alignment says what does not fit") {
  std::vector<float> memory(1000);
  const auto batch = [&](Index b, Index rows, Index features) {
    return BatchView<float>(memory.data(), {b, rows, features});
  };
  using L = LocalAlignment<float>;
  const std::vector<std::int64_t> two{1, 2}, zero{1, 0, 2}, negative{-1, 1, 1}, long_report{1, 1, 6};
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2)}) == "no error");
  CHECK_THAT(refusal_of<L>({batch(3, 4, 2), batch(2, 5, 2)}),
             ContainsSubstring("local_alignment: regions is 3 x 4 x 2 but words is 2 x 5 x 2"));
  CHECK_THAT(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 3)}),
             ContainsSubstring("local_alignment: regions is 3 x 4 x 2 but words is 3 x 5 x 3"));
  CHECK_THAT(refusal_of<L>({{}, batch(3, 5, 3)}), ContainsSubstring("local_alignment: regions is 0 x 0 x 0"));
  CHECK_THAT(refusal_of<L>({batch(3, 4, 2), batch(3, 0, 2)}),
             ContainsSubstring("local_alignment: words is 3 x 0 x 2"));
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2), two}) ==
        "local_alignment: word_count has 2 numbers but words has 3 reports");
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2), zero}) ==
        "local_alignment: word_count of report 1 is 0, not in 1 to 5");
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2), negative}) ==
        "local_alignment: word_count of report 0 is -1, not in 1 to 5");
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2), long_report}) ==
        "local_alignment: word_count of report 2 is 6, not in 1 to 5");
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2), {}, two}) ==
        "local_alignment: group has 2 ids but the batch has 3 pairs");
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2), {}, {}, 2}) ==
        "local_alignment: word_capacity is 2, less than a word for each of the 3 reports");
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2), {}, {}, 15}) == "no error");
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2), {}, {}, 14}) ==
        "local_alignment: word_capacity is 14 but the reports have 15 words");
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2)}, {}, {.similarity = batch(1, 3, 2)[0]}) ==
        "local_alignment: similarity is 3 x 2, not 3 x 3");
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2)}, {}, {.attention = batch(3, 4, 5)}) ==
        "local_alignment: attention is 3 x 4 x 5, not 3 x 5 x 4");
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2)}, {.words = batch(3, 4, 2)}) ==
        "local_alignment: the gradient of words is 3 x 4 x 2 but words is 3 x 5 x 2");

  Cpu device(1);
  L loss;
  CHECK_THROWS_WITH(loss.backward(device, {batch(3, 4, 2), batch(3, 5, 2)}, 1, {}),
                    ContainsSubstring("backward needs the inputs of the last forward"));
}
