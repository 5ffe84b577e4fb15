#include "bindings/c/any_loss.hpp"
#include "bindings/c/options.hpp"
#include "bindings/c/vlp_ops.h"
#include "calls.hpp"
#include "losses/every_loss.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/loss_case.hpp"

#include <vlp/core/buffer.hpp>
#include <vlp/core/enum_names.hpp>
#include <vlp/core/into.hpp>
#include <vlp/losses/all.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

// The library libvlp_ops, through its C interface alone, beside the same calls in C++: equal to the bit.

namespace {

using namespace vlp::test;
using vlp::Cpu;
using vlp::Index;
using vlp::Random;

constexpr LossSizes sizes{5, 7, 6, 4, 20};

/// Memory for what a forward saves.
struct Saved {
  explicit Saved(std::size_t bytes) : memory(static_cast<Index>(bytes)) {}
  [[nodiscard]] std::span<std::byte> span() const {
    return {memory.data(), static_cast<std::size_t>(memory.size())};
  }
  [[nodiscard]] VlpSaved get() const { return {memory.data(), memory.size()}; }
  vlp::Buffer<std::byte> memory;
};

/// Results of forward and backward, in C++ and through C.
template <vlp::Loss L>
struct Both {
  std::vector<double> outputs;
  Arrays gradients;
};

template <vlp::Loss L>
Both<L> call_cpp(const Arrays& arrays, const typename L::Options& options, Padding padding = {},
                 double upstream = 1) {
  LossCase<L> given(arrays, padding);
  AllOutputs<L> outputs(given.inputs);
  const L loss(options);
  const Saved saved(loss.saved_bytes(given.inputs));
  Cpu device(1);
  loss.forward(device, given.inputs, outputs.outputs, saved.span());
  loss.backward(device, given.inputs, saved.span(), static_cast<typename L::Accumulator>(upstream),
                given.gradients);
  return {outputs.values(), given.gradient_values()};
}

template <vlp::Loss L>
Both<L> call_c(const Arrays& arrays, const OptionTexts& options, Padding padding = {}, double upstream = 1) {
  LossCase<L> given(arrays, padding);
  AllOutputs<L> outputs(given.inputs);
  const CLoss loss = make_c_loss<L>(options);
  const CDevice device = make_c_device(2);
  const CInputs<L> inputs(given.inputs);
  const VlpInputs c_inputs = inputs.get();
  std::int64_t bytes = -1;
  REQUIRE(vlp_loss_saved_bytes(loss.get(), &c_inputs, &bytes) == VLP_OK);
  const Saved saved(static_cast<std::size_t>(bytes));
  const VlpSaved c_saved = saved.get();
  const CArrays c_outputs = outputs.c_arrays();
  const VlpArrays to = c_outputs.get();
  const VlpStatus forward = vlp_loss_forward(loss.get(), device.get(), &c_inputs, &to, &c_saved);
  INFO(vlp_ops_error());
  REQUIRE(forward == VLP_OK);
  const CArrays gradients = c_gradients<L>(given.gradients);
  const VlpGradients c_gradients{gradients.get(), 0};
  const VlpStatus backward =
      vlp_loss_backward(loss.get(), device.get(), &c_inputs, &c_saved, upstream, &c_gradients);
  INFO(vlp_ops_error());
  REQUIRE(backward == VLP_OK);
  CHECK(given.padding_untouched());
  return {outputs.values(), given.gradient_values()};
}

/// A value of an option that is not its default, and in range.
template <class Option>
Option another(const Option& option) {
  if constexpr (std::is_enum_v<Option>)
    return static_cast<Option>(1);
  else if constexpr (std::is_same_v<Option, bool>)
    return !option;
  else if constexpr (std::is_integral_v<Option>)
    return 7;
  else
    return 0.3125;
}

/// The status and the sentence of a call that should fail.
std::string refusal(VlpStatus status) {
  return status == VLP_OK ? "no error" : status == VLP_BAD_ARGUMENT ? vlp_ops_error() : "another status";
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("every loss through C is the loss in C++, in float", "", vlp::AllLosses<float>) {
  using L = TestType;
  Random random(31);
  const Arrays arrays = inputs_of<L>(random, sizes);
  const Both<L> want = call_cpp<L>(arrays, {}, {}, 0.7), got = call_c<L>(arrays, {}, {}, 0.7);
  CHECK(got.outputs == want.outputs);
  CHECK(same_bits(got.gradients, want.gradients));
}

TEMPLATE_LIST_TEST_CASE("every loss through C takes strided arrays, in double", "", vlp::AllLosses<double>) {
  using L = TestType;
  Random random(32);
  const Arrays arrays = inputs_of<L>(random, sizes);
  const Both<L> want = call_cpp<L>(arrays, {}, {3, 8}), got = call_c<L>(arrays, {}, {3, 8});
  CHECK(got.outputs == want.outputs);
  CHECK(same_bits(got.gradients, want.gradients));
}

TEMPLATE_LIST_TEST_CASE("every option of every loss is set by its name through C", "",
                        vlp::AllLosses<double>) {
  using L = TestType;
  Random random(33);
  const Arrays arrays = inputs_of<L>(random, sizes);
  typename L::Options defaults;
  L::for_each_option(defaults, [&](std::string_view name, const auto& value) {
    CAPTURE(name);
    typename L::Options options;
    OptionTexts texts;
    L::for_each_option(options, [&](std::string_view other, auto& option) {
      if (other != name) return;
      option = another(option);
      texts.emplace_back(name, vlp::bindings::option_text(option));
      CHECK(texts.back().second != vlp::bindings::option_text(value));
    });
    REQUIRE(texts.size() == 1);
    const Both<L> want = call_cpp<L>(arrays, options), got = call_c<L>(arrays, texts);
    CHECK(got.outputs == want.outputs);
    CHECK(same_bits(got.gradients, want.gradients));
  });
}

TEMPLATE_LIST_TEST_CASE("every loss through C computes what is asked for alone", "", vlp::AllLosses<float>) {
  using L = TestType;
  Random random(34);
  const Arrays arrays = inputs_of<L>(random, sizes);
  const Both<L> want = call_cpp<L>(arrays, {});
  LossCase<L> given(arrays);
  const CInputs<L> inputs(given.inputs);
  const VlpInputs c_inputs = inputs.get();
  const CLoss loss = make_c_loss<L>();
  const CDevice device = make_c_device();
  std::int64_t bytes = 0;
  REQUIRE(vlp_loss_saved_bytes(loss.get(), &c_inputs, &bytes) == VLP_OK);
  const Saved saved(static_cast<std::size_t>(bytes));
  const VlpSaved c_saved = saved.get();
  const VlpArrays nothing{nullptr, 0};
  REQUIRE(vlp_loss_forward(loss.get(), device.get(), &c_inputs, &nothing, &c_saved) == VLP_OK);
  CArrays gradients = c_gradients<L>(given.gradients);
  gradients.arrays().erase(gradients.arrays().begin() + 1, gradients.arrays().end());
  given.fill_gradient(gradients.arrays()[0].name, 2);
  const VlpGradients added{gradients.get(), 1};
  REQUIRE(vlp_loss_backward(loss.get(), device.get(), &c_inputs, &c_saved, 1, &added) == VLP_OK);
  const std::string first = gradients.arrays()[0].name;
  const Arrays got = given.gradient_values();
  for (const auto& [name, gradient] : got)
    for (std::size_t i = 0; i < gradient.values.size(); ++i) {
      CAPTURE(name, i);
      if (name == first)
        CHECK(gradient.values[i] == Approx(2 + want.gradients.at(name).values[i]).margin(1e-5));
      else
        CHECK(std::isnan(gradient.values[i]));
    }
}

TEMPLATE_LIST_TEST_CASE("every loss through C goes forward and back at once where it can", "",
                        vlp::AllLosses<double>) {
  using L = TestType;
  Random random(35);
  const Arrays arrays = inputs_of<L>(random, sizes);
  LossCase<L> cpp(arrays), c(arrays);
  typename L::Accumulator value = 0, c_value = 0;
  const CInputs<L> inputs(c.inputs);
  const VlpInputs c_inputs = inputs.get();
  CArrays outputs;
  outputs.add("loss", &c_value);
  const VlpArrays c_outputs = outputs.get();
  const CArrays gradients = c_gradients<L>(c.gradients);
  const VlpGradients to{gradients.get(), 0};
  const CLoss loss = make_c_loss<L>();
  const CDevice device = make_c_device();
  const VlpStatus status =
      vlp_loss_forward_backward(loss.get(), device.get(), &c_inputs, 0.5, &c_outputs, &to);
  typename L::Outputs cpp_outputs{};
  cpp_outputs.loss = &value;
  if constexpr (vlp::bindings::has_forward_backward<L>) {
    REQUIRE(status == VLP_OK);
    Cpu cpu(1);
    L().forward_backward(cpu, cpp.inputs, 0.5, cpp_outputs, cpp.gradients);
    CHECK(c_value == value);
    CHECK(same_bits(c.gradient_values(), cpp.gradient_values()));
  } else {
    CHECK(refusal(status) == std::string(L::name) + ": has no forward_backward on this device");
  }
}

TEST_CASE("the C interface says how much is saved of inputs without data, and of numbers of the host") {
  using L = vlp::LocalAlignment<float>;
  Random random(36);
  LossCase<L> given(inputs_of<L>(random, sizes));
  CInputs<L> inputs(given.inputs), empty(given.inputs);
  for (VlpArray& array : empty.arrays().arrays()) array.data = nullptr;
  const CLoss loss = make_c_loss<L>();
  std::int64_t bytes = 0, of_empty = 0;
  VlpInputs c_inputs = inputs.get();
  REQUIRE(vlp_loss_saved_bytes(loss.get(), &c_inputs, &bytes) == VLP_OK);
  const VlpInputs c_empty = empty.get();
  REQUIRE(vlp_loss_saved_bytes(loss.get(), &c_empty, &of_empty) == VLP_OK);
  CHECK(bytes == of_empty);
  CHECK(bytes == static_cast<std::int64_t>(L().saved_bytes(given.inputs)));
  CHECK(bytes % vlp_saved_alignment() == 0);

  const VlpNumber number{"word_capacity", 2};
  c_inputs.numbers = &number;
  c_inputs.number_count = 1;
  const CDevice device = make_c_device();
  const Saved saved(static_cast<std::size_t>(bytes));
  const VlpSaved c_saved = saved.get();
  const VlpArrays nothing{nullptr, 0};
  CHECK(refusal(vlp_loss_forward(loss.get(), device.get(), &c_inputs, &nothing, &c_saved)) ==
        "local_alignment: word_capacity is 2, less than a word for each of the 5 reports");
  CHECK(vlp_device_scratch_bytes(device.get()) == 0);
}

TEST_CASE("the C interface takes strides of dimensions of one element as they come") {
  using L = vlp::Distillation<float>;
  std::vector<float> student{1, 2, 3}, teacher{3, 1, 2};
  const std::int64_t extents[] = {1, 3}, odd[] = {1, 1};
  const VlpArray arrays[] = {{"student", student.data(), 2, 32, 2, extents, odd},
                             {"teacher", teacher.data(), 2, 32, 2, extents, nullptr}};
  const VlpInputs inputs{{arrays, 2}, nullptr, 0};
  const CLoss loss = make_c_loss<L>();
  const CDevice device = make_c_device();
  float value = 0, want = 0;
  CArrays outputs;
  outputs.add("loss", &value);
  const VlpArrays to = outputs.get();
  const Saved saved(1024);
  const VlpSaved c_saved = saved.get();
  REQUIRE(vlp_loss_forward(loss.get(), device.get(), &inputs, &to, &c_saved) == VLP_OK);
  Cpu cpu(1);
  L().forward(cpu, {{student.data(), {1, 3}}, {teacher.data(), {1, 3}}}, {&want});
  CHECK(value == want);

  const std::int64_t upright[] = {3, 1}, far[] = {1, 9};
  const VlpArray columns[] = {{"student", student.data(), 2, 32, 2, upright, far},
                              {"teacher", teacher.data(), 2, 32, 2, upright, far}};
  const VlpInputs of_columns{{columns, 2}, nullptr, 0};
  const VlpStatus status = vlp_loss_forward(loss.get(), device.get(), &of_columns, &to, &c_saved);
  INFO(vlp_ops_error());
  REQUIRE(status == VLP_OK);
  L().forward(cpu, {{student.data(), {3, 1}}, {teacher.data(), {3, 1}}}, {&want});
  CHECK(value == want);
}

TEST_CASE("a device of the C interface has the threads asked for, and says what scratch memory it took") {
  using L = vlp::LocalAlignment<float>;
  Random random(37);
  const LossCase<L> given(inputs_of<L>(random, sizes));
  const CInputs<L> inputs(given.inputs);
  const VlpInputs c_inputs = inputs.get();
  const CLoss loss = make_c_loss<L>();
  const Saved saved(L().saved_bytes(given.inputs));
  const VlpSaved c_saved = saved.get();
  const VlpArrays nothing{nullptr, 0};
  std::vector<std::size_t> of_threads;
  for (const int threads : {1, 3}) {
    Cpu cpu(threads);
    L().forward(cpu, given.inputs, {}, saved.span());
    const CDevice device = make_c_device(threads);
    REQUIRE(vlp_loss_forward(loss.get(), device.get(), &c_inputs, &nothing, &c_saved) == VLP_OK);
    of_threads.push_back(cpu.scratch().high_water());
    CHECK(vlp_device_scratch_bytes(device.get()) == static_cast<std::int64_t>(of_threads.back()));
  }
  CHECK(of_threads[0] < of_threads[1]);
}
