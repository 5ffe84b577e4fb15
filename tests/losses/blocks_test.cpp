#include "losses/blocks.hpp"

#include "losses/pairs.hpp"
#include "losses/words_and_regions.hpp"
#include "support/catch.hpp"
#include "support/device.hpp"
#include "support/gradients.hpp"
#include "support/messages.hpp"

#include <vlp/core/random.hpp>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/local_alignment.hpp>
#include <vlp/losses/pairwise_sigmoid.hpp>
#ifdef VLP_TEST_CUDA
#include <vlp/cuda/losses/info_nce.cuh>
#include <vlp/cuda/losses/local_alignment.cuh>
#include <vlp/cuda/losses/pairwise_sigmoid.cuh>
#endif

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// Losses over batches that are cut into blocks of images and texts.

namespace {

using namespace vlp::test;
using vlp::DuplicatePolicy;
using vlp::Index;
using vlp::Into;
using vlp::PairBlock;
using vlp::PositiveWeight;
using vlp::Random;

template <class Scalar>
using InfoNce = vlp::InfoNce<Scalar, Device>;
template <class Scalar>
using LocalAlignment = vlp::LocalAlignment<Scalar, Device>;
template <class Scalar>
using PairwiseSigmoid = vlp::PairwiseSigmoid<Scalar, Device>;

/// How far a loss in blocks may be from the whole: to rounding. Gradients of 16 bits are rounded at every
/// addition.
template <class Scalar>
constexpr double allowed = sizeof(Scalar) == 2 ? 6 * tolerance_of<Scalar>() : tolerance_of<Scalar>();

/// Cuts of a batch: whole, 1 x N, N x 1, ragged both ways. An emulated device is slow: ragged ones alone.
std::vector<std::vector<Part>> all_cuts(Index images, Index texts) {
  std::vector<std::vector<Part>> out{parts({0, 1, images}, {0, texts - 1, texts}),
                                     parts({0, images / 3, images / 2 + 1, images}, {0, texts / 4, texts})};
  if constexpr (on_cpu) {
    out.push_back(parts({0, images}, {0, texts}));
    out.push_back(parts(cuts(images, 1), {0, texts}));
    out.push_back(parts({0, images}, cuts(texts, 1)));
  }
  return out;
}

/// Policies that these tests run with.
const std::vector<DuplicatePolicy>& tested_policies() {
  static const std::vector<DuplicatePolicy> groups_count{DuplicatePolicy::positives, DuplicatePolicy::ignore};
  return on_cpu ? policies : groups_count;
}

template <vlp::Loss L>
void check_parts(const Arrays& arrays, const typename L::Options& options) {
  constexpr double upstream = 0.7;
  LossCase<L> whole(arrays), cut(arrays);
  const double loss = to_double(whole.run(options, 1, upstream));
  const Arrays gradients = whole.gradient_values();
  const auto [images, texts] = L::block_extents(whole.inputs);
  const auto run = [&](const std::vector<Part>& all, [[maybe_unused]] Gathering gathering) {
    clear_gradients(cut);
    if constexpr (requires { typename L::Sums; })
      return run_in_parts(cut, options, all, gathering, upstream);
    else
      return add_parts(cut, options, all, upstream);
  };
  for (const std::vector<Part>& all : all_cuts(images, texts)) {
    CAPTURE(images, texts, all.size(), all[0].images, all[0].texts);
    CHECK(run(all, Gathering::added) ==
          Approx(loss).epsilon(allowed<typename L::Scalar>).margin(1e-6 * allowed<typename L::Scalar>));
    CHECK(relative_error(cut.gradient_values(), gradients, 1e-3) <= allowed<typename L::Scalar>);
    if constexpr (requires { typename L::Sums; }) {
      const double merged = run(all, Gathering::merged);
      const Arrays of_merged = cut.gradient_values();
      CHECK(merged ==
            Approx(loss).epsilon(allowed<typename L::Scalar>).margin(1e-6 * allowed<typename L::Scalar>));
      CHECK(run(all, Gathering::merged_backward) == merged);  // to the bit
      CHECK(same_bits(cut.gradient_values(), of_merged));
    }
  }
}

}  // namespace

TEMPLATE_TEST_CASE("A square InfoNCE is the sum of its blocks", "", VLP_TEST_SCALARS) {
  Random random(31);
  for (DuplicatePolicy policy : tested_policies()) {
    vlp::InfoNceOptions options{policy, policy == DuplicatePolicy::ignore ? 0.1 : 0, 0.7, 0.4};
    check_parts<InfoNce<TestType>>(random_pairs(random, 9, 6, 4, 5), options);
    options.kept_score_bytes = 1 << 20;
    check_parts<InfoNce<TestType>>(random_pairs(random, 7, 5, 3, 90), options);
  }
  check_parts<InfoNce<TestType>>(random_pairs(random, 1, 6), {});
  check_parts<InfoNce<TestType>>(random_pairs(random, 5, 6), {.image_to_text_weight = 0});
  check_parts<InfoNce<TestType>>(random_pairs(random, 5, 6), {.text_to_image_weight = 0});
}

TEMPLATE_TEST_CASE("An InfoNCE with extra texts is the sum of its blocks", "", VLP_TEST_SCALARS) {
  Random random(32);
  for (DuplicatePolicy policy : tested_policies())
    for (const Rectangle& shape :
         {Rectangle{5, 16, 6, 0, 1, 6, false, true}, Rectangle{5, 16, 6, 1, 3, 6, true, true}}) {
      const Arrays arrays = random_rectangle(random, shape);
      check_parts<InfoNce<TestType>>(arrays, {policy, 0, 0.3, 0.9});
      check_parts<InfoNce<TestType>>(arrays, {policy, 0.2, 0.3, 0.9});
    }
}

TEMPLATE_TEST_CASE("An InfoNCE over more than a tile is the sum of its blocks", "", VLP_TEST_SCALARS) {
  Random random(33);
  constexpr Index images = on_cpu ? 300 : 150, texts = on_cpu ? 620 : 310;
  const Arrays arrays = random_rectangle(random, {images, texts, 5, 0, 2, 40});
  const std::vector<Part> all = parts({0, 129, images}, {0, 7, 263, texts});
  const vlp::InfoNceOptions options{DuplicatePolicy::positives, 0.1};
  LossCase<InfoNce<TestType>> whole(arrays), cut(arrays);
  const double loss = to_double(whole.run(options));
  clear_gradients(cut);
  CHECK(run_in_parts(cut, options, all) == Approx(loss).epsilon(allowed<TestType>));
  CHECK(relative_error(cut.gradient_values(), whole.gradient_values(), 1e-3) <= allowed<TestType>);
}

TEMPLATE_TEST_CASE("A local alignment is the sum of its blocks", "", VLP_TEST_SCALARS) {
  Random random(34);
  for (DuplicatePolicy policy : tested_policies()) {
    const vlp::LocalAlignmentOptions options{.duplicate_policy = policy,
                                             .label_smoothing = policy == DuplicatePolicy::ignore ? 0.1 : 0,
                                             .image_to_text_weight = 0.7,
                                             .text_to_image_weight = 0.4};
    check_parts<LocalAlignment<TestType>>(words_and_regions(random, {.batch = 5, .groups = 3, .scale = 0.3}),
                                          options);
    Arrays arrays = words_and_regions(random, {.batch = 8, .groups = 4, .scale = 0.3});
    arrays["regions"] = normal(random, {3, 4, 6}, 0.3);
    arrays["own_text"] = number(1);
    arrays["own_text_step"] = number(3);
    check_parts<LocalAlignment<TestType>>(arrays, options);
  }
}

TEMPLATE_TEST_CASE("A pairwise sigmoid is the sum of its blocks", "", VLP_TEST_SCALARS) {
  Random random(35);
  for (DuplicatePolicy policy : tested_policies())
    for (PositiveWeight weight : {PositiveWeight::one, PositiveWeight::one_over_count}) {
      const vlp::PairwiseSigmoidOptions options{.duplicate_policy = policy, .positive_weight = weight};
      check_parts<PairwiseSigmoid<TestType>>(random_pairs(random, 7, 6, 3, 5), options);
      check_parts<PairwiseSigmoid<TestType>>(random_rectangle(random, {5, 16, 6, 1, 3, 6, false, true}),
                                             options);
    }
}

TEMPLATE_TEST_CASE("Attention in blocks is that of each image and its own report", "", VLP_TEST_SCALARS) {
  using L = LocalAlignment<TestType>;
  Random random(36);
  Arrays arrays = words_and_regions(random, {.batch = 6, .scale = 0.3});
  arrays["regions"] = normal(random, {3, 4, 6}, 0.3);
  LossCase<L> whole(arrays);
  whole.inputs.block.own_text = 1;
  whole.inputs.block.own_text_step = 2;
  auto device = make_device(2);
  const L loss;
  const Index words = whole.inputs.words.extent(1);
  // Attention [images, words, 4] of a part, and its similarities.
  const auto told = [&](const Part& part) {
    const auto inputs = inputs_of_part<L>(whole.inputs, part);
    const auto size = static_cast<std::size_t>(part.images * words * 4);
    DeviceArray<TestType> attention(std::vector<TestType>(size, not_a_result<TestType>()));
    SavedMemory saved(loss.block_saved_bytes(inputs));
    TestSums<L> sums(part.images, part.texts);
    typename L::Outputs outputs{};
    outputs.attention = {attention.data(), {part.images, words, 4}};
    loss.accumulate(device, inputs, outputs, sums.part({0, part.images, 0, part.texts}), Into::overwrite,
                    saved.span());
    wait_for(device);
    attention.download();
    Array out{{part.images * words, 4}, {}};
    for (const TestType& a : attention.host()) out.values.push_back(to_double(a));
    return out;
  };
  const Array all = told({0, 3, 0, 6});
  const auto one = static_cast<std::size_t>(words * 4);
  const auto image = [&](std::size_t i) {
    const auto begin = all.values.begin() + static_cast<std::ptrdiff_t>(i * one);
    return Array{{words, 4}, std::vector<double>(begin, begin + static_cast<std::ptrdiff_t>(one))};
  };
  CHECK(relative_error(told({1, 1, 2, 2}), image(1)) <= tolerance_of<TestType>());  // report 3 is among them
  CHECK(told({1, 1, 0, 3}).values == std::vector<double>(one));
  CHECK(relative_error(told({2, 1, 5, 1}), image(2)) <= tolerance_of<TestType>());
  CHECK(relative_error(image(0), image(1)) > 0.1);
}

TEST_CASE("Losses in blocks say what does not fit") {
  DeviceArray<float> memory(std::vector<float>(100)), number({0});
  const auto view = [&](Index rows, Index cols) {
    return vlp::MatrixView<float>(memory.data(), {rows, cols});
  };
  using L = InfoNce<float>;
  const auto inputs = [&](Index images, Index texts, const PairBlock& block) {
    return L::Inputs{view(images, 3), view(texts, 3), number.data(), {}, {}, block};
  };
  auto device = make_device();
  const auto refusal = [&](const L::Inputs& in, Index rows, Index columns, const L::Options& options = {}) {
    TestSums<L> sums(rows, columns);
    const L loss(options);
    return message_of<std::invalid_argument>([&] {
      SavedMemory saved(loss.block_saved_bytes(in));
      loss.accumulate(device, in, {}, sums.part({0, rows, 0, columns}), Into::overwrite, saved.span());
    });
  };
  CHECK(refusal(inputs(2, 4, {.images = 5, .texts = 9, .first_image = 3, .first_text = 5}), 2, 4) ==
        "no error");
  CHECK(refusal(inputs(2, 4, {.images = 5, .texts = 9, .first_image = 4}), 2, 4) ==
        "info_nce: 2 images from 4 on are given, of 5 in the batch");
  CHECK(refusal(inputs(2, 4, {.images = 5, .texts = 9, .first_text = -1}), 2, 4) ==
        "info_nce: 4 texts from -1 on are given, of 9 in the batch");
  CHECK(refusal(inputs(2, 4, {.own_text_step = 0}), 2, 4) ==
        "info_nce: own_text must be at least 0 and own_text_step at least 1, but they are 0 and 0");
  CHECK(refusal(inputs(2, 4, {.own_text = 2, .own_text_step = 2}), 2, 4) ==
        "info_nce: image 1 of the batch has text 2 + 1 x 2, but there are 4 texts");
  CHECK(refusal(inputs(2, 4, {}), 2, 3) ==
        "info_nce: sums have 2 rows and 3 columns, but 2 images and 4 texts are given");
  CHECK(refusal(inputs(2, 2, {}), 2, 2, {.false_negative_margin = 0.1}) ==
        "info_nce: false_negative_margin needs the whole batch in one call, but is 0.1");
  CHECK(refusal_of<L>(inputs(2, 4, {.images = 5, .texts = 9})) ==
        "info_nce: 2 of 5 images and 4 of 9 texts are given; parts of a batch go through accumulate, finish "
        "and differentiate");
  CHECK_THROWS_WITH(
      L({.label_smoothing = 0.1, .false_negative_margin = 0.2}),
      "info_nce: false_negative_margin and label_smoothing cannot be combined, but are 0.2 and 0.1");
  CHECK_THROWS_WITH(L({.false_negative_margin = -1}),
                    "info_nce: false_negative_margin must not be negative, but is -1");
  TestSums<L> five(5, 5), four(4, 5);
  CHECK_THROWS_WITH(L::merge(device, four.part({0, 4, 0, 5}), five.part({0, 5, 0, 5})),
                    "info_nce: 4 rows are given to merge into 5");
  CHECK_THROWS_WITH(L().finish(device, {}, five.part({0, 5, 0, 5}), nullptr),
                    "info_nce: finish is given no place for the loss");
}
