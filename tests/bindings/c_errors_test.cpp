#include "bindings/c/vlp_ops.h"
#include "calls.hpp"
#include "losses/every_loss.hpp"
#include "support/catch.hpp"
#include "support/loss_case.hpp"

#include <vlp/core/buffer.hpp>
#include <vlp/losses/perturbation_sensitivity.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

// What the C interface refuses: a status and one sentence, and nothing written.

namespace {

using namespace vlp::test;
using vlp::Random;
using L = vlp::PerturbationSensitivity<float>;

std::string error_of(VlpStatus status) {
  return status == VLP_OK ? "no error" : status == VLP_BAD_ARGUMENT ? vlp_ops_error() : "another status";
}

std::string error_of_making(const char* name, const char* type, std::vector<VlpOption> options = {}) {
  VlpLoss* loss = nullptr;
  const std::string error =
      error_of(vlp_loss_make(name, type, options.data(), static_cast<std::int64_t>(options.size()), &loss));
  CHECK((error == "no error") == (loss != nullptr));
  vlp_loss_free(loss);
  return error;
}

/// A call of perturbation sensitivity that is right until something of it is changed.
struct Call {
  Call() : given(arrays()), inputs(given.inputs), gradients(c_gradients<L>(given.gradients)), saved(4096) {
    outputs.add("loss", &value);
  }

  static Arrays arrays() {
    Random random(41);
    Arrays out = inputs_of<L>(random, {5, 7, 6, 4, 20});
    out["valid"] = {{5, 4}, std::vector<double>(20, 1)};
    return out;
  }

  std::string forward() {
    const VlpInputs in = inputs.get();
    const VlpArrays to = outputs.get();
    const VlpSaved memory{saved.data(), bytes};
    return error_of(vlp_loss_forward(loss.get(), device.get(), &in, &to, &memory));
  }
  std::string backward() {
    const VlpInputs in = inputs.get();
    const VlpGradients to{gradients.get(), add};
    const VlpSaved memory{saved.data(), bytes};
    return error_of(vlp_loss_backward(loss.get(), device.get(), &in, &memory, 1, &to));
  }
  VlpArray& input(std::size_t i) { return inputs.arrays().arrays().at(i); }

  LossCase<L> given;
  CInputs<L> inputs;
  CArrays gradients, outputs;
  float value = -7;
  CLoss loss = make_c_loss<L>();
  CDevice device = make_c_device();
  vlp::Buffer<std::byte> saved;
  std::int64_t bytes = 4096;
  std::int32_t add = 0;
};

}  // namespace

TEST_CASE("the C interface says which loss, type or option there is not") {
  CHECK(error_of_making("distillation", "float32") == "no error");
  CHECK(error_of_making("info_nse", "float32") == "there is no loss info_nse");
  CHECK(error_of_making("info_nce", "float16") == "info_nce: is not there for numbers of type float16");
  CHECK(error_of_making("info_nce", "float32", {{"smoothing", "0"}}) == "info_nce: has no option smoothing");
  CHECK(error_of_making("info_nce", "float32", {{"label_smoothing", "0.1x"}}) ==
        "info_nce: label_smoothing must be a number, but is '0.1x'");
  CHECK(error_of_making("info_nce", "float32", {{"label_smoothing", "1"}}) ==
        "info_nce: label_smoothing must be in [0, 1), but is 1");
  CHECK(error_of_making("info_nce", "float32", {{"kept_score_bytes", "-1"}}) ==
        "info_nce: kept_score_bytes must be a whole number from 0 on, but is '-1'");
  CHECK(error_of_making("info_nce", "float32", {{"duplicate_policy", "both"}}) ==
        "info_nce: duplicate_policy must be one of negatives, positives, ignore, but is 'both'");
  CHECK(error_of_making("info_nce", "float32", {{"false_negative_margin", "inf"}}) == "no error");
  CHECK(error_of_making("token_cross_entropy", "float64", {{"ignore_index", "1.5"}}) ==
        "token_cross_entropy: ignore_index must be a whole number, but is '1.5'");
  CHECK(error_of_making("multi_scale", "float64", {{"perturbed_as_negatives", "1"}}) ==
        "multi_scale: perturbed_as_negatives must be true or false, but is '1'");
  VlpDevice* device = nullptr;
  CHECK(error_of(vlp_device_make(-1, &device)) == "Cpu: threads must be from 0 (all) to 1024, but is -1");
  CHECK(device == nullptr);
}

TEST_CASE("each thread has the sentence of its own last call that failed through C") {
  const std::string here = "there is no loss info_nse";
  CHECK(error_of_making("info_nse", "float32") == here);
  std::string there;
  std::thread([&] {
    VlpLoss* loss = nullptr;
    (void)vlp_loss_make("distilation", "float32", nullptr, 0, &loss);
    there = vlp_ops_error();
  }).join();
  CHECK(there == "there is no loss distilation");
  CHECK(vlp_ops_error() == here);
}

TEST_CASE("the C interface says what is wrong with an array") {
  const std::int64_t extents[] = {5, 7}, strides[] = {14, 2}, negative[] = {5, -7};
  const auto forward_with = [&](const std::function<void(Call&)>& change) {
    Call call;
    change(call);
    const std::string error = call.forward();
    CHECK((error == "no error" || call.value == -7));
    return error;
  };
  CHECK(forward_with([](Call&) {}) == "no error");
  CHECK(forward_with([](Call& call) { call.input(3).type_code = 6; }) == "no error");  // valid, of bool
  CHECK(forward_with([](Call& call) { call.input(0).name = "images"; }) ==
        "perturbation_sensitivity: has no input images");
  CHECK(forward_with([](Call& call) { call.input(1).name = "image"; }) ==
        "perturbation_sensitivity: the input image is given twice");
  CHECK(forward_with([](Call& call) { call.input(0).type_bits = 64; }) ==
        "perturbation_sensitivity: image has elements of type float64, not float32");
  CHECK(forward_with([](Call& call) { call.input(0).type_code = 0; }) ==
        "perturbation_sensitivity: image has elements of type int32, not float32");
  CHECK(forward_with([](Call& call) { call.input(3).type_bits = 32; }) ==
        "perturbation_sensitivity: valid has elements of type uint32, not uint8 or bool");
  CHECK(forward_with([](Call& call) {
          call.input(3).type_code = 6;
          call.input(3).type_bits = 32;
        }) == "perturbation_sensitivity: valid has elements of type bool32, not uint8 or bool");
  CHECK(forward_with([](Call& call) { call.input(0).rank = 3; }) ==
        "perturbation_sensitivity: image has 3 dimensions, not 2");
  CHECK(forward_with([](Call& call) { call.input(2).rank = 1; }) ==
        "perturbation_sensitivity: log_scale has 1 dimensions, not 0");
  CHECK(
      forward_with([&](Call& call) {
        call.input(0).extents = extents;
        call.input(0).strides = strides;
      }) ==
      "perturbation_sensitivity: elements of the last dimension of image must be adjacent, but their stride "
      "is 2");
  CHECK(forward_with([&](Call& call) { call.input(0).extents = negative; }) ==
        "perturbation_sensitivity: image has -7 elements along dimension 1");
  CHECK(forward_with([](Call& call) { call.input(0).data = nullptr; }) ==
        "perturbation_sensitivity: image has no data");
  CHECK(forward_with([](Call& call) { call.outputs.arrays()[0].name = "similarity"; }) ==
        "perturbation_sensitivity: has no output similarity");
  CHECK(forward_with([](Call& call) { call.bytes = 10; }) ==
        "perturbation_sensitivity: saved has 10 bytes, but 448 are needed");
}

TEST_CASE("the C interface says what is wrong with a gradient, a number or the way to write") {
  Call call;
  REQUIRE(call.forward() == "no error");
  CHECK(call.backward() == "no error");
  call.gradients.arrays()[0].name = "valid";
  CHECK(call.backward() == "perturbation_sensitivity: has no gradient valid");
  call.gradients.arrays()[0].name = "image";
  call.gradients.arrays()[1].name = "image";
  CHECK(call.backward() == "perturbation_sensitivity: the gradient image is given twice");
  call.gradients.arrays()[1].name = "text";
  call.add = 2;
  CHECK(call.backward() == "perturbation_sensitivity: add must be 0 or 1, but is 2");

  VlpInputs inputs = call.inputs.get();
  const VlpNumber number{"word_capacity", 3};
  inputs.numbers = &number;
  inputs.number_count = 1;
  std::int64_t bytes = -1;
  CHECK(error_of(vlp_loss_saved_bytes(call.loss.get(), &inputs, &bytes)) ==
        "perturbation_sensitivity: has no number word_capacity");
  CHECK(bytes == -1);
}

TEST_CASE("the C interface says how much is saved only of inputs that a forward would take") {
  const std::int64_t narrow[] = {5, 6};
  const auto error_with = [&](const std::function<void(Call&)>& change) {
    Call call;
    for (VlpArray& array : call.inputs.arrays().arrays()) array.data = nullptr;
    change(call);
    const VlpInputs in = call.inputs.get();
    std::int64_t saved = -1;
    const std::string error = error_of(vlp_loss_saved_bytes(call.loss.get(), &in, &saved));
    CHECK(saved == (error == "no error" ? 448 : -1));
    return error;
  };
  CHECK(error_with([](Call&) {}) == "no error");
  CHECK(error_with([&](Call& call) { call.input(0).extents = narrow; }) ==
        "perturbation_sensitivity: image is 5 x 6 but text is 5 x 4 x 7");
  CHECK(error_with([&](Call& call) { call.input(3).extents = narrow; }) ==
        "perturbation_sensitivity: valid is 5 x 6 but text is 5 x 4 x 7");
  CHECK(error_with([](Call& call) {
          call.inputs.arrays().arrays().erase(call.inputs.arrays().arrays().begin() + 2);
        }) == "perturbation_sensitivity: log_scale is not given");
}
