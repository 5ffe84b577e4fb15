#include "bindings/c/any_loss.hpp"
#include "bindings/c/vlp_ops.h"
#include "calls.hpp"
#include "losses/blocks.hpp"
#include "losses/every_loss.hpp"
#include "steps.hpp"
#include "support/catch.hpp"
#include "support/loss_case.hpp"
#include "support/saved_memory.hpp"

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/losses/all.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

// What the steps over blocks refuse through the C interface.

namespace {

using namespace vlp::test;
using vlp::Random;
using L = vlp::InfoNce<float>;

std::string error_of(VlpStatus status) {
  return status == VLP_OK ? "no error" : status == VLP_BAD_ARGUMENT ? vlp_ops_error() : "another status";
}

/// Steps over a whole batch of 5 pairs that are right until something of them is changed.
struct Steps {
  Steps()
      : inputs(given.inputs),
        sums(c_sums(memory.part({0, 5, 0, 5}))),
        gradients(c_gradients<L>(given.gradients)) {
    outputs.add("loss", &value);
  }

  static Arrays arrays() {
    Random random(61);
    return inputs_of<L>(random, {5, 7, 6, 4, 20});
  }

  std::string accumulate() {
    const VlpInputs in = inputs.get();
    const VlpArrays of = sums.get(), none{nullptr, 0};
    const VlpSaved to{saved.span().data(), bytes};
    return error_of(vlp_loss_accumulate(loss.get(), device.get(), &in, &none, &of, add, &to));
  }
  std::string merge() {
    const VlpArrays from = sums.get();
    CArrays all = c_sums(others.part({0, 5, 0, 5}));
    const VlpArrays to = all.get();
    return error_of(vlp_loss_merge(loss.get(), device.get(), &from, &to));
  }
  std::string finish(std::int64_t number_count = 0, VlpNumber number = {}) {
    const VlpArrays of = sums.get(), to = outputs.get();
    return error_of(vlp_loss_finish(loss.get(), device.get(), &number, number_count, &of, &to));
  }
  std::string differentiate() {
    const VlpInputs in = inputs.get();
    const VlpArrays of = sums.get();
    const VlpSaved from{saved.span().data(), bytes};
    const VlpGradients to{gradients.get(), add};
    return error_of(vlp_loss_differentiate(loss.get(), device.get(), &in, &of, &from, 1, &to));
  }
  VlpArray& sum(std::size_t i) { return sums.arrays().at(i); }
  void leave_out(std::size_t i) {
    sums.arrays().erase(sums.arrays().begin() + static_cast<std::ptrdiff_t>(i));
  }

  LossCase<L> given{arrays()};
  CInputs<L> inputs;
  TestSums<L> memory{5, 5}, others{5, 5};
  CArrays sums, gradients, outputs;
  float value = -7;
  CLoss loss = make_c_loss<L>();
  CDevice device = make_c_device();
  SavedMemory saved{4096};
  std::int64_t bytes = 4096;
  std::int32_t add = 0;
};

}  // namespace

TEST_CASE("the steps over blocks through C say what is wrong with the sums") {
  const std::int64_t three[] = {3}, two[] = {2};
  const auto error_with = [](const std::function<void(Steps&)>& change) {
    Steps steps;
    change(steps);
    const std::string error = steps.accumulate(), again = steps.differentiate();
    CHECK(error == again);
    CHECK((error == "no error") == (*steps.memory.part({0, 5, 0, 5}).rows.sum.data() != 0));
    return error;
  };
  CHECK(error_with([](Steps&) {}) == "no error");
  CHECK(error_with([&](Steps& steps) { steps.sum(0).extents = steps.sum(1).extents = three; }) ==
        "info_nce: sums have 3 rows and 5 columns, but 5 images and 5 texts are given");
  CHECK(error_with([&](Steps& steps) { steps.sum(3).extents = three; }) ==
        "info_nce: columns have 5 maxima but 3 sums");
  CHECK(error_with([](Steps& steps) { steps.leave_out(1); }) == "info_nce: rows have 5 maxima but 0 sums");
  CHECK(error_with([](Steps& steps) { steps.sum(2).data = steps.sum(3).data = nullptr; }) ==
        "info_nce: 5 columns have sums without data");
  CHECK(error_with([](Steps& steps) { steps.leave_out(4); }) ==
        "info_nce: sums have 5 rows and 5 columns, no target_score, but 5 images and 5 texts are given");
  CHECK(error_with([](Steps& steps) { steps.sum(1).type_bits = 64; }) ==
        "info_nce: row_sum has elements of type float64, not float32");
  CHECK(error_with([](Steps& steps) { steps.sum(4).type_bits = 32; }) ==
        "info_nce: target_score has elements of type float32, not float64");
  CHECK(error_with([](Steps& steps) { steps.sum(2).rank = 2; }) ==
        "info_nce: column_max has 2 dimensions, not 1");
  CHECK(error_with([&](Steps& steps) { steps.sum(2).strides = two; }) ==
        "info_nce: elements of the last dimension of column_max must be adjacent, but their stride is 2");
  CHECK(error_with([](Steps& steps) { steps.sum(0).name = "row_maximum"; }) ==
        "info_nce: has no sum row_maximum");
  CHECK(error_with([](Steps& steps) { steps.sum(0).name = "row_sum"; }) ==
        "info_nce: the sum row_sum is given twice");
  CHECK(error_with([](Steps& steps) { steps.add = -1; }) == "info_nce: add must be 0 or 1, but is -1");
}

TEST_CASE("merge and finish through C say what is wrong with their arguments") {
  const std::int64_t three[] = {3};
  Steps steps;
  CHECK(steps.merge() == "no error");
  CHECK(steps.finish() == "no error");
  CHECK(steps.finish(1, {"images", 5}) == "no error");
  CHECK(steps.finish(1, {"images", 4}) == "info_nce: 5 images from 0 on are given, of 4 in the batch");
  CHECK(steps.finish(1, {"word_capacity", 4}) == "info_nce: has no number word_capacity");
  steps.outputs.arrays()[0].name = "similarity";
  CHECK(steps.finish() == "info_nce: has no finished output similarity");
  steps.outputs.arrays().clear();
  CHECK(steps.finish() == "info_nce: finish is given no place for the loss");
  steps.sum(2).extents = steps.sum(3).extents = three;
  CHECK(steps.merge() == "info_nce: 3 columns are given to merge into 5");
  steps.sum(0).name = "rows";
  CHECK(steps.merge() == "info_nce: has no sum rows");
}

TEST_CASE("the C interface says how much accumulate saves of a block, and refuses less") {
  using Alignment = vlp::LocalAlignment<float>;
  Random random(62);
  const LossCase<Alignment> given(inputs_of<Alignment>(random, {5, 7, 6, 4, 20}));
  CInputs<Alignment> inputs(given.inputs);
  std::vector<void*> data;
  for (VlpArray& array : inputs.arrays().arrays()) {
    data.push_back(array.data);
    array.data = nullptr;
  }
  const CLoss loss = make_c_loss<Alignment>();
  const CDevice device = make_c_device();
  std::int64_t bytes = -1;
  VlpInputs in = inputs.get();
  REQUIRE(vlp_loss_block_saved_bytes(loss.get(), &in, &bytes) == VLP_OK);
  CHECK(bytes == static_cast<std::int64_t>(Alignment().block_saved_bytes(given.inputs)));
  CHECK(bytes < static_cast<std::int64_t>(Alignment().saved_bytes(given.inputs)));

  const CLoss with_margin = make_c_loss<Alignment>({{"false_negative_margin", "0.1"}});
  CHECK(error_of(vlp_loss_block_saved_bytes(with_margin.get(), &in, &bytes)) ==
        "local_alignment: false_negative_margin needs the whole batch in one call, but is 0.1");
  VlpInputs without_regions = in;
  --without_regions.arrays.count;
  without_regions.arrays.arrays = inputs.arrays().arrays().data() + 1;
  CHECK(error_of(vlp_loss_block_saved_bytes(loss.get(), &without_regions, &bytes)) ==
        "local_alignment: regions is 0 x 0 x 0, but every extent must be at least 1");

  for (std::size_t i = 0; i < data.size(); ++i) inputs.arrays().arrays()[i].data = data[i];
  in = inputs.get();
  TestSums<Alignment> memory(5, 5);
  const CArrays sums = c_sums(memory.part({0, 5, 0, 5}));
  const VlpArrays of = sums.get(), none{nullptr, 0};
  SavedMemory saved(static_cast<std::size_t>(bytes));
  const VlpSaved less{saved.span().data(), bytes - 1};
  const VlpGradients gradients{none, 0};
  const std::string want =
      vlp::concat("local_alignment: saved has ", bytes - 1, " bytes, but ", bytes, " are needed");
  CHECK(error_of(vlp_loss_accumulate(loss.get(), device.get(), &in, &none, &of, 0, &less)) == want);
  CHECK(error_of(vlp_loss_differentiate(loss.get(), device.get(), &in, &of, &less, 1, &gradients)) == want);
}

TEMPLATE_LIST_TEST_CASE("a loss without steps over blocks says so through C", "", vlp::AllLosses<double>) {
  using Any = TestType;
  constexpr std::string_view name = Any::name;
  CHECK(vlp::bindings::has_blocks<Any> == (name == "info_nce" || name == "local_alignment"));
  if constexpr (!vlp::bindings::has_blocks<Any>) {
    const CLoss loss = make_c_loss<Any>();
    const CDevice device = make_c_device();
    const VlpInputs inputs{};
    const VlpArrays none{};
    const VlpSaved saved{};
    const VlpGradients gradients{};
    std::int64_t bytes = -1;
    const std::string want = std::string(name) + ": has no steps over blocks";
    CHECK(error_of(vlp_loss_block_saved_bytes(loss.get(), &inputs, &bytes)) == want);
    CHECK(bytes == -1);
    CHECK(error_of(vlp_loss_accumulate(loss.get(), device.get(), &inputs, &none, &none, 0, &saved)) == want);
    CHECK(error_of(vlp_loss_merge(loss.get(), device.get(), &none, &none)) == want);
    CHECK(error_of(vlp_loss_finish(loss.get(), device.get(), nullptr, 0, &none, &none)) == want);
    CHECK(error_of(vlp_loss_differentiate(loss.get(), device.get(), &inputs, &none, &saved, 1, &gradients)) ==
          want);
  }
}
