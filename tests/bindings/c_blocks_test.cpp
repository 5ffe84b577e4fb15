#include "bindings/c/vlp_ops.h"
#include "calls.hpp"
#include "losses/blocks.hpp"
#include "losses/every_loss.hpp"
#include "steps.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/loss_case.hpp"
#include "support/saved_memory.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/local_alignment.hpp>
#include <vlp/losses/pairwise_sigmoid.hpp>

#include <cstddef>
#include <deque>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

// The steps over blocks through the C interface, beside the same calls in C++ (equal to the bit) and the loss
// of the whole batch.

namespace {

using namespace vlp::test;
using vlp::Index;
using vlp::Into;
using vlp::Random;

constexpr Index images = 4, texts = 9;
constexpr double upstream = 0.7;

/// Images with more texts than images, so that every number of a block matters, in groups.
template <vlp::Loss L>
Arrays batch_of(Random& random) {
  Arrays out = inputs_of<L>(random, {texts, 7, 6, 4, 20});
  Array& image = out.at(out.count("image") ? "image" : "regions");
  image.shape[0] = images;
  image.values.resize(image.values.size() / texts * images);
  out["own_text"] = number(1);
  out["own_text_step"] = number(2);
  if (out.count("image")) out["valid"] = {{texts}, {1, 1, 0, 1, 1, 1, 1, 1, 0}};
  return out;
}

/// The outputs of a part: places in those of the batch. Attention, which is that of an image and its own
/// text, is asked of the parts that have these.
template <vlp::Loss L>
typename L::Outputs outputs_of_part(const typename L::Outputs& whole, const vlp::PairBlock& block,
                                    const Part& part) {
  typename L::Outputs out = whole;
  out.loss = nullptr;
  if constexpr (requires { whole.similarity; }) {
    const Index stride = whole.similarity.stride(0);
    out.similarity = {whole.similarity.data() + part.first_image * stride + part.first_text,
                      {part.images, part.texts},
                      {stride, 1}};
    out.attention = {};
    if (block.text_of(part.first_image) >= part.first_text &&
        block.text_of(part.first_image + part.images - 1) < part.first_text + part.texts)
      out.attention = whole.attention.slice(part.first_image, part.images);
  }
  return out;
}

template <class Accumulator>
void append(std::vector<double>& to, const vlp::ContrastSums<Accumulator>& sums) {
  for (const auto& side : {sums.rows, sums.columns})
    for (const auto& array : {side.max, side.sum})
      for (Index i = 0; i < array.extent(0); ++i) to.push_back(static_cast<double>(array[i]));
  to.push_back(*sums.target_score);
}

/// Everything that the steps write.
struct Result {
  double loss = 0;
  std::vector<double> numbers, outputs;
  Arrays gradients;
};

template <class Steps, vlp::Loss L>
Result run_blocks(const Arrays& arrays, const typename L::Options& options, const OptionTexts& names,
                  Padding padding = {}) {
  using Accumulator = typename L::Accumulator;
  LossCase<L> whole(arrays, padding);
  clear_gradients(whole);
  AllOutputs<L> outputs(whole.inputs);
  Steps steps(options, names);
  const std::vector<Part> all = parts({0, 2, images}, {0, 5, texts});
  const Part batch{0, images, 0, texts};
  TestSums<L> merged(images, texts), added(images, texts);
  std::deque<SavedMemory> saved;
  Result out;
  for (const Part& part : all) {
    const auto inputs = inputs_of_part<L>(whole.inputs, part);
    SavedMemory& memory = saved.emplace_back(steps.block_saved_bytes(inputs));
    out.numbers.push_back(static_cast<double>(memory.span().size()));
    steps.accumulate(inputs, {}, added.part(part), Into::add, memory.span());
    TestSums<L> own(part.images, part.texts);
    const auto sums = own.part({0, part.images, 0, part.texts});
    *sums.rows.max.data() = *sums.columns.sum.data() = Accumulator(1e30);  // to be replaced
    steps.accumulate(inputs, outputs_of_part<L>(outputs.outputs, inputs.block, part), sums, Into::overwrite,
                     memory.span());
    append(out.numbers, sums);
    const auto to = merged.part(part);  // a side at a time
    steps.merge({.rows = sums.rows}, to);
    append(out.numbers, merged.part(batch));
    steps.merge({.columns = sums.columns, .target_score = sums.target_score}, to);
    append(out.numbers, merged.part(batch));
  }
  append(out.numbers, added.part(batch));

  const auto add_share = [&](vlp::PairBlock block, const vlp::ContrastSums<Accumulator>& sums) {
    Accumulator share = -7;
    steps.finish(block, sums, share);
    out.numbers.push_back(static_cast<double>(share));
    out.loss += static_cast<double>(share);
  };
  const vlp::PairBlock block = whole.inputs.block.of(images, texts);
  for (const Part& part : all) {
    const auto sums = merged.part(part);
    vlp::PairBlock of = block;
    of.first_image = part.first_image;
    of.first_text = part.first_text;
    if (part.first_text == 0) add_share(of, {.rows = sums.rows});
    if (part.first_image == 0) add_share(of, {.columns = sums.columns});
  }
  add_share(block, {.target_score = merged.part(batch).target_score});

  for (std::size_t k = 0; k < all.size(); ++k) {
    typename L::Gradients gradients = part_of(whole.gradients, all[k]);
    gradients.into = Into::add;
    steps.differentiate(inputs_of_part<L>(whole.inputs, all[k]), merged.part(all[k]), saved[k].span(),
                        upstream, gradients);
    CHECK(saved[k].guards_are_whole());
  }
  out.outputs = outputs.values();
  out.gradients = whole.gradient_values();
  return out;
}

/// The loss, outputs and gradients of the batch at once, in C++.
template <vlp::Loss L>
Result run_whole(const Arrays& arrays, const typename L::Options& options) {
  LossCase<L> whole(arrays);
  AllOutputs<L> outputs(whole.inputs);
  vlp::Cpu device(1);
  L loss(options);
  loss.forward(device, whole.inputs, outputs.outputs);
  loss.backward(device, whole.inputs, upstream, whole.gradients);
  return {static_cast<double>(*outputs.outputs.loss), {}, outputs.values(), whole.gradient_values()};
}

void check_close(const Result& got, const Result& want) {
  CHECK(got.loss == Approx(want.loss).epsilon(1e-12));
  REQUIRE(got.outputs.size() == want.outputs.size());
  for (std::size_t i = 1; i < want.outputs.size(); ++i)  // the first is the loss
    CHECK(got.outputs[i] == Approx(want.outputs[i]).epsilon(1e-12));
  REQUIRE(got.gradients.size() == want.gradients.size());
  for (const auto& [name, gradient] : want.gradients) {
    CAPTURE(name);
    CHECK(relative_error(got.gradients.at(name), gradient) < 1e-12);
  }
}

using LossesOfBlocks = std::tuple<vlp::InfoNce<float>, vlp::InfoNce<double>, vlp::LocalAlignment<float>,
                                  vlp::LocalAlignment<double>>;

/// Runs the blocks of a loss without a normaliser, by both of its ways in turn.
template <class Steps, vlp::Loss L>
Result run_shares(const Arrays& arrays, Padding padding = {}) {
  using Accumulator = typename L::Accumulator;
  LossCase<L> whole(arrays, padding);
  clear_gradients(whole);
  Steps steps({}, {});
  Result out;
  bool at_once = false;
  for (const Part& part : parts({0, 2, images}, {0, 5, texts})) {
    const auto inputs = inputs_of_part<L>(whole.inputs, part);
    typename L::Gradients gradients = part_of(whole.gradients, part);
    gradients.into = Into::add;
    Accumulator share = -7;
    if ((at_once = !at_once)) {
      steps.forward_backward(inputs, upstream, {&share}, gradients);
    } else {
      SavedMemory saved(steps.saved_bytes(inputs));
      steps.forward(inputs, {&share}, saved.span());
      steps.backward(inputs, saved.span(), upstream, gradients);
    }
    out.numbers.push_back(static_cast<double>(share));
    out.loss += static_cast<double>(share);
  }
  out.gradients = whole.gradient_values();
  return out;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("a batch in blocks through C is that in C++", "", LossesOfBlocks) {
  using L = TestType;
  Random random(51);
  const Arrays arrays = batch_of<L>(random);
  typename L::Options options;
  options.image_to_text_weight = 0.25;
  options.label_smoothing = 0.125;
  OptionTexts names{{"image_to_text_weight", "0.25"}, {"label_smoothing", "0.125"}};
  if constexpr (requires { options.kept_score_bytes; }) {
    options.kept_score_bytes = 1000;
    names.emplace_back("kept_score_bytes", "1000");
  }
  for (const Padding padding : {Padding{}, Padding{3, 8}}) {
    const Result want = run_blocks<CppSteps<L>, L>(arrays, options, names, padding);
    const Result got = run_blocks<CSteps<L>, L>(arrays, options, names, padding);
    CHECK(got.loss == want.loss);
    CHECK(got.numbers == want.numbers);
    CHECK(got.outputs == want.outputs);
    CHECK(same_bits(got.gradients, want.gradients));
    if constexpr (std::is_same_v<typename L::Scalar, double>) check_close(got, run_whole<L>(arrays, options));
  }
}

TEMPLATE_TEST_CASE("the shares of blocks of the pairwise sigmoid through C are those in C++", "",
                   vlp::PairwiseSigmoid<float>, vlp::PairwiseSigmoid<double>) {
  using L = TestType;
  Random random(52);
  const Arrays arrays = batch_of<L>(random);
  const Result want = run_shares<CppSteps<L>, L>(arrays, {3, 8}),
               got = run_shares<CSteps<L>, L>(arrays, {3, 8});
  CHECK(got.numbers == want.numbers);
  CHECK(same_bits(got.gradients, want.gradients));
  if constexpr (std::is_same_v<typename L::Scalar, double>) {
    Result whole = run_whole<L>(arrays, {});
    whole.outputs.clear();
    check_close(got, whole);
  }
}
