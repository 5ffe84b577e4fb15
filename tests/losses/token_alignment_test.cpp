#include "token_alignment.hpp"

#include "support/device.hpp"
#include "support/golden.hpp"
#include "support/gradients.hpp"
#include "words_and_regions.hpp"

#include <vlp/core/into.hpp>
#include <vlp/losses/cpu/token_alignment.hpp>
#ifdef VLP_TEST_CUDA
#include <vlp/cuda/losses/token_alignment.cuh>
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

namespace {

using namespace vlp::test;
using vlp::BatchView;
using vlp::Index;
using vlp::Random;
using vlp::TokenAlignmentOptions;

template <class Scalar>
using TokenAlignment = vlp::TokenAlignment<Scalar, Device>;
using Reference = vlp::TokenAlignment<double>;

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// Says whether results are compared as those of float and double are.
template <class Scalar>
constexpr bool is_exact = sizeof(Scalar) > 2;

}  // namespace

TEMPLATE_TEST_CASE("token alignment agrees with the golden vectors", "", VLP_TEST_SCALARS) {
  check_golden<TokenAlignment<TestType>>();
}

TEMPLATE_TEST_CASE("token alignment agrees with double on ragged shapes", "", VLP_TEST_SCALARS) {
  Random random(13);
  const std::tuple<WordsAndRegions, Padding, TokenAlignmentOptions> cases[] = {
      {{.batch = 5, .regions = 7, .words = 6, .features = 4}, {}, {}},
      {{.batch = 4, .regions = 1, .words = 5, .features = 3}, {1, 0}, {}},
      {{.batch = 1, .regions = 3, .words = 4, .features = 9}, {1, 2}, {}},
      {{.batch = 3, .regions = 9, .words = 1, .features = 8}, {}, {}},
      {{.batch = 2, .regions = 150, .words = 5, .features = 33}, {8, 16}, {0.2, 0.2}},
      {{.batch = 2, .regions = 20, .words = 35, .features = 24}, {}, {0.3, 0.05}},
      {{.batch = 3, .regions = 6, .words = 7, .features = 130}, {0, 8}, {0.5, 1}}};
  for (const auto& [shape, padding, options] : cases) {
    CAPTURE(shape.batch, shape.regions, shape.words, shape.features);
    check_against<TokenAlignment<TestType>>(words_and_regions(random, shape), options, padding);
  }
  // In one dimension all gradients cancel.
  check_against<TokenAlignment<TestType>>(
      words_and_regions(random, {.batch = 3, .regions = 6, .words = 4, .features = 1}), {}, {}, 10);
}

TEMPLATE_TEST_CASE("token alignment keeps to the contract of a loss", "", VLP_TEST_SCALARS) {
  Random random(4);
  check_loss_contract<TokenAlignment<TestType>>(
      {}, words_and_regions(random, {.batch = 5, .regions = 4, .words = 6, .features = 7}));
  check_loss_contract<TokenAlignment<TestType>>({.attention_temperature = 0.5, .contrast_temperature = 0.2},
                                                words_and_regions(random, {.batch = on_cpu ? 14 : 2,
                                                                           .regions = on_cpu ? 60 : 9,
                                                                           .words = on_cpu ? 19 : 35,
                                                                           .features = on_cpu ? 35 : 8}));
}

TEMPLATE_TEST_CASE("token alignment holds at very large and very small temperatures", "", VLP_TEST_SCALARS) {
  Random random(2);
  const Arrays arrays = rounded<TokenAlignment<TestType>>(
      words_and_regions(random, {.batch = 4, .regions = 9, .words = 6, .features = 5}));
  for (double attention : {1e-4, 1.0, 1e6})
    for (double contrast : {1e-4, 1.0, 1e6}) {
      CAPTURE(attention, contrast);
      const TokenAlignmentOptions options{attention, contrast};
      LossCase<TokenAlignment<TestType>> got(arrays);
      const double loss = to_double(got.run(options));
      const Arrays gradients = got.gradient_values();
      CHECK(relative_error(gradients, gradients) == 0);  // finite
      const Array weights = attention_of<TokenAlignment<TestType>>(arrays, options);
      const double accuracy = is_exact<TestType> ? 1e-6 + 1e-6 / attention : accuracy_of<TestType>();
      CHECK(relative_error(weights, attention_of<Reference>(arrays, options)) < accuracy);
      LossCase<Reference> want(arrays);
      CHECK(relative_error(number(loss), number(want.run(options)), 0.1) <
            (is_exact<TestType> ? 1e-5 : accuracy_of<TestType>()));
    }
  // One region: attention is 1 and has no gradient, whose rounding a small temperature would blow up.
  check_against<TokenAlignment<TestType>>(
      words_and_regions(random, {.batch = 3, .regions = 1, .words = 5, .features = 40}),
      {.attention_temperature = 1e-6});
  // Attention is uniform, so that all words see the same and none can be told from the others.
  Arrays equal =
      words_and_regions(random, {.batch = 3, .regions = 4, .words = 5, .features = 6, .ragged = false});
  CHECK(to_double(LossCase<TokenAlignment<TestType>>(equal).run(
            {.attention_temperature = 1e6, .contrast_temperature = 1e6})) == Approx(std::log(5.0)));
}

TEST_CASE("token alignment gradients of many words agree with central differences") {
  Random random(3);
  CHECK(directional_error<Reference>(
            {}, words_and_regions(random, {.batch = 6, .regions = 49, .words = 30, .features = 20}), random) <
        1e-7);
}

TEMPLATE_TEST_CASE("attention of token alignment sums to 1 and is 0 in padding whatever the threads", "",
                   VLP_TEST_SCALARS) {
  using L = TokenAlignment<TestType>;
  Random random(5);
  const Arrays arrays =
      rounded<L>(words_and_regions(random, {.batch = 6, .regions = 11, .words = 7, .features = 5}));
  const Array attention = attention_of<L>(arrays, {}, 1);
  CHECK(same_bits({{"", attention}}, {{"", attention_of<L>(arrays, {}, 3)}}));
  CHECK(same_bits({{"", attention}}, {{"", attention_of<L>(arrays, {}, 2, 5)}}));
  CHECK(relative_error(attention, attention_of<Reference>(arrays, {})) <= accuracy_of<TestType>());
  for (Index b = 0; b < 6; ++b)
    for (Index w = 0; w < 7; ++w) {
      const auto row = attention.values.begin() + (b * 7 + w) * 11;
      if (w < word_count(arrays, b))
        CHECK(std::accumulate(row, row + 11, 0.0) == Approx(1).epsilon(accuracy_of<TestType>()));
      else
        CHECK(std::all_of(row, row + 11, [](double a) { return a == 0; }));
    }
}

TEMPLATE_TEST_CASE("padding of reports does not count in token alignment", "", VLP_TEST_SCALARS) {
  // On another device products of more rows may be summed in another order.
  constexpr double tolerance = on_cpu ? 0 : tolerance_of<TestType>();
  Random random(6);
  const WordsAndRegions shape{.batch = 6, .regions = 8, .words = 5, .features = 4};
  const Arrays arrays = words_and_regions(random, shape);  // NaN in padding
  const Index more = shape.words + 3, width = shape.words * shape.features;
  Arrays wide = arrays;
  wide["words"] = {
      {shape.batch, more, shape.features},
      std::vector<double>(static_cast<std::size_t>(shape.batch * more * shape.features), not_a_number)};
  for (Index b = 0; b < shape.batch; ++b)
    std::copy_n(arrays.at("words").values.begin() + b * width, width,
                wide.at("words").values.begin() + b * more * shape.features);

  LossCase<TokenAlignment<TestType>> plain(arrays), padded(wide), added(wide);
  const double value = to_double(plain.run({}));
  CHECK(relative_error(number(to_double(padded.run({}))), number(value)) <= tolerance);
  added.gradients.into = vlp::Into::add;
  added.fill_gradient("words", 3);
  added.fill_gradient("regions", 0);
  added.run({});
  const Arrays want = plain.gradient_values(), got = padded.gradient_values(), sum = added.gradient_values();
  CHECK(relative_error(got.at("regions"), want.at("regions")) <= tolerance);
  Array words{want.at("words").shape, {}};
  for (Index b = 0; b < shape.batch; ++b)
    for (Index w = 0; w < more; ++w)
      for (Index d = 0; d < shape.features; ++d) {
        const auto at = static_cast<std::size_t>((b * more + w) * shape.features + d);
        if (w < shape.words) words.values.push_back(got.at("words").values[at]);
        if (w < word_count(arrays, b)) continue;
        REQUIRE(got.at("words").values[at] == 0);
        REQUIRE(sum.at("words").values[at] == 3);
      }
  CHECK(relative_error(words, want.at("words")) <= tolerance);
}

TEMPLATE_TEST_CASE("without word counts all words of a report are aligned", "", VLP_TEST_SCALARS) {
  Random random(7);
  Arrays arrays =
      words_and_regions(random, {.batch = 4, .regions = 5, .words = 6, .features = 3, .ragged = false});
  LossCase<TokenAlignment<TestType>> counted(arrays);
  arrays.erase("word_count");
  LossCase<TokenAlignment<TestType>> bare(arrays);
  CHECK(bare.run({}) == counted.run({}));
  CHECK(same_bits(bare.gradient_values(), counted.gradient_values()));
}

TEMPLATE_TEST_CASE("token alignment of reports of one word is nothing", "", VLP_TEST_SCALARS) {
  Random random(8);
  for (Index batch : {1, 4}) {
    LossCase<TokenAlignment<TestType>> one(
        words_and_regions(random, {.batch = batch, .words = 1, .ragged = false}));
    CHECK(one.run({}) == 0);
    for (const auto& [name, gradient] : one.gradient_values())
      for (double g : gradient.values) REQUIRE(g == 0);
  }
}

TEMPLATE_TEST_CASE("token alignment of one word many times is the logarithm of its number", "",
                   VLP_TEST_SCALARS) {
  Random random(9);
  Arrays arrays =
      words_and_regions(random, {.batch = 3, .regions = 5, .words = 4, .features = 6, .ragged = false});
  auto& words = arrays.at("words").values;
  for (Index b = 0; b < 3; ++b)
    for (Index w = 1; w < 4; ++w) std::copy_n(words.begin() + b * 24, 6, words.begin() + b * 24 + w * 6);
  CHECK(to_double(LossCase<TokenAlignment<TestType>>(arrays).run({})) == Approx(std::log(4.0)));

  // Two of four words alike, the others told apart from all: log 2 for half of the words.
  arrays = words_and_regions(random, {.batch = 1, .regions = 3, .words = 4, .features = 3, .ragged = false});
  arrays.at("regions").values = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  arrays.at("words").values = {5, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 7};
  CHECK(to_double(LossCase<TokenAlignment<TestType>>(arrays).run(
            {.attention_temperature = 0.01, .contrast_temperature = 0.01})) == Approx(std::log(2.0) / 2));
}

TEST_CASE("token alignment gradients of words that are well told apart are exact in float") {
  const Arrays arrays{{"regions", {{1, 3, 3}, {1, 0, 0, 0, 1, 0, 0, 0, 1}}},
                      {"words", {{1, 3, 3}, {5, 1, 0, 0, 4, 1, 1, 0, 6}}}};
  const TokenAlignmentOptions options{.contrast_temperature = 0.07};
  LossCase<TokenAlignment<float>> single(arrays);
  LossCase<Reference> want(arrays);
  want.run(options);
  CHECK(single.run(options) < 1e-4);
  CHECK(relative_error(single.gradient_values(), want.gradient_values()) < 2e-5);
}

TEMPLATE_TEST_CASE("token alignment of zero words and regions has finite gradients", "", VLP_TEST_SCALARS) {
  Arrays arrays = rounded<TokenAlignment<TestType>>(zero_tokens());
  LossCase<TokenAlignment<TestType>> got(arrays);
  LossCase<Reference> want(arrays);
  CHECK(relative_error(number(to_double(got.run({}))), number(want.run({}))) <
        (is_exact<TestType> ? 1e-6 : accuracy_of<TestType>()));
  if (is_exact<TestType>) CHECK(row_error(got.gradient_values(), want.gradient_values()) < 2e-5);
  CHECK(relative_error(got.gradient_values(), got.gradient_values()) == 0);

  // All words of a report and all regions of an image: their gradients cancel except for rounding, which is
  // then divided by the smallest norm.
  std::fill_n(arrays.at("regions").values.begin() + 30, 30, 0.0);
  std::fill_n(arrays.at("words").values.begin() + 54, 18, 0.0);
  LossCase<TokenAlignment<TestType>> nothing(arrays);
  CHECK(std::isfinite(to_double(nothing.run({}))));
  const Arrays gradients = nothing.gradient_values();
  CHECK(relative_error(gradients, gradients) == 0);
}

TEMPLATE_TEST_CASE("token alignment does not depend on the lengths of words and regions", "",
                   VLP_TEST_SCALARS) {
  const bool is_wide = std::is_same_v<TestType, float> || std::is_same_v<TestType, double>;
  Random random(11);
  const Arrays arrays = words_and_regions(random, {.batch = 3, .regions = 5, .words = 4, .features = 6});
  const double value = to_double(LossCase<TokenAlignment<TestType>>(arrays).run({}));
  const double small = is_wide ? 1e-9 : 0x1p-7, large = is_wide ? 1e15 : 0x1p6;
  for (double of_regions : {small, large})
    for (double of_words : {small, large}) {
      Arrays scaled = arrays;
      for (double& v : scaled.at("regions").values) v *= of_regions;
      for (double& v : scaled.at("words").values) v *= of_words;
      const Arrays given = rounded<TokenAlignment<TestType>>(scaled);
      LossCase<TokenAlignment<TestType>> got(given);
      LossCase<Reference> want(given);
      want.run({});
      CHECK(to_double(got.run({})) == Approx(value).epsilon(1e-5));
      const Arrays gradients = got.gradient_values();
      for (const auto& [name, gradient] : want.gradient_values())
        CHECK(relative_error(gradients.at(name), gradient, 0) < accuracy_of<TestType>());
    }
}

TEMPLATE_TEST_CASE("token alignment of a batch with a NaN is NaN", "", VLP_TEST_SCALARS) {
  Random random(12);
  for (const char* name : {"regions", "words"})
    for (double bad : {not_a_number, std::numeric_limits<double>::infinity()}) {
      Arrays arrays =
          words_and_regions(random, {.batch = 3, .regions = 20, .words = 18, .features = 6, .ragged = false});
      arrays.at(name).values[45] = bad;
      LossCase<TokenAlignment<TestType>> broken(arrays);
      CHECK(std::isnan(to_double(broken.run({}))));
      const std::vector<double> gradient = broken.gradient_values().at(name).values;
      CHECK(std::isnan(gradient[45]));
      CHECK(std::isfinite(gradient.back()));  // of another pair
    }
}

#ifdef VLP_TEST_CUDA
TEMPLATE_TEST_CASE("token alignment of a report of no words or of too many is NaN", "", VLP_TEST_SCALARS) {
  Random random(14);
  const Arrays arrays = words_and_regions(random, {.batch = 3, .regions = 4, .words = 5, .features = 6});
  for (double bad : {0.0, -1.0, 6.0, 1e18})
    for (std::size_t report : {0, 2}) {
      CAPTURE(bad, report);
      Arrays wrong = arrays;
      wrong.at("word_count").values[report] = bad;
      LossCase<TokenAlignment<TestType>> loss_case(wrong);
      CHECK(std::isnan(loss_case.run({})));
      const Arrays gradients = loss_case.gradient_values();
      for (std::size_t k = 0; k < 30; ++k) CHECK(gradients.at("words").values[report * 30 + k] == 0);
      CHECK(std::isfinite(gradients.at("regions").values[24]));  // of another pair
    }
}

TEMPLATE_TEST_CASE("token alignment takes as many pairs at a time as it is told to", "", VLP_TEST_SCALARS) {
  // On a device products of fewer pairs may be summed in another order.
  constexpr double tolerance = tolerance_of<TestType>();
  Random random(15);
  const Arrays arrays = words_and_regions(random, {.batch = 5, .regions = 9, .words = 6, .features = 8});
  LossCase<TokenAlignment<TestType>> at_once(arrays), in_strips(arrays);
  const double value = to_double(at_once.run({}));
  std::size_t scratch = 0;
  for (std::size_t bytes : {std::size_t{1}, std::size_t{1200}}) {  // one pair, and two
    CAPTURE(bytes);
    vlp::Cuda device(nullptr, {.score_block_bytes = bytes});
    TokenAlignment<TestType> loss;
    CHECK(relative_error(number(to_double(in_strips.forward(loss, device))), number(value)) <= tolerance);
    loss.backward(device, in_strips.inputs, 1, in_strips.gradients);
    CHECK(relative_error(in_strips.gradient_values(), at_once.gradient_values()) <= tolerance);
    CHECK(device.scratch().high_water() > scratch);
    scratch = device.scratch().high_water();
  }
}
#endif

#if !defined(VLP_TEST_CUDA) || defined(VLP_CUDA_EMULATION)  // memory of the host
TEST_CASE("token alignment reaches beyond 2^31 elements") {
  check_far_apart<TokenAlignment<float>>(Index{2} << 31, Index{1} << 31);
}
#endif

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
  DeviceArray<float> memory(std::vector<float>(1000));
  const auto batch = [&](Index b, Index rows, Index features) {
    return BatchView<float>(memory.data(), {b, rows, features});
  };
  using L = TokenAlignment<float>;
  const std::string name = "token_alignment: ";
  DeviceArray<std::int64_t> two({1, 2}), zero({1, 0, 2}), long_report({1, 1, 6});
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2)}) == "no error");
  CHECK_THAT(refusal_of<L>({batch(3, 4, 2), batch(2, 5, 2)}),
             ContainsSubstring(name + "regions is 3 x 4 x 2 but words is 2 x 5 x 2"));
  CHECK_THAT(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 3)}),
             ContainsSubstring(name + "regions is 3 x 4 x 2 but words is 3 x 5 x 3"));
  CHECK_THAT(refusal_of<L>({{}, batch(3, 5, 3)}), ContainsSubstring(name + "regions is 0 x 0 x 0"));
  CHECK_THAT(refusal_of<L>({batch(3, 4, 2), batch(3, 0, 2)}), ContainsSubstring(name + "words is 3 x 0 x 2"));
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2), two.span()}) ==
        name + "word_count has 2 numbers but words has 3 reports");
  if constexpr (on_cpu) {
    CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2), zero.span()}) ==
          name + "word_count of report 1 is 0, not in 1 to 5");
    CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2), long_report.span()}) ==
          name + "word_count of report 2 is 6, not in 1 to 5");
  }
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2)}, {}, {.attention = batch(3, 4, 5)}) ==
        name + "attention is 3 x 4 x 5, not 3 x 5 x 4");
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2)}, {.regions = batch(3, 5, 2)}) ==
        name + "the gradient of regions is 3 x 5 x 2 but regions is 3 x 4 x 2");
  CHECK(refusal_of<L>({batch(3, 4, 2), batch(3, 5, 2)}, {.words = batch(3, 4, 2)}) ==
        name + "the gradient of words is 3 x 4 x 2 but words is 3 x 5 x 2");

  auto device = make_device();
  L loss;
  CHECK_THROWS_WITH(loss.backward(device, {batch(3, 4, 2), batch(3, 5, 2)}, 1, {}),
                    ContainsSubstring(name + "backward is called without a forward before it"));
  loss.forward(device, {batch(3, 4, 2), batch(3, 5, 2)}, {});
  CHECK_THROWS_WITH(loss.backward(device, {batch(3, 4, 2), batch(3, 6, 2)}, 1, {}),
                    ContainsSubstring("backward is given 3 x 4 x 2 x 6 but forward had 3 x 4 x 2 x 5 (pairs "
                                      "x regions x features x words)"));
}
