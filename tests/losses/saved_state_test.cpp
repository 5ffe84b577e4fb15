#include "losses/every_loss.hpp"
#include "support/catch.hpp"
#include "support/device.hpp"
#include "support/gradients.hpp"
#include "support/saved_memory.hpp"

#ifdef VLP_TEST_CUDA
#include <vlp/cuda/losses/all.cuh>
#else
#include <vlp/losses/all.hpp>
#endif

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

// The passes of every loss with memory of the caller's: pure functions of their arguments.

namespace {

using namespace vlp::test;
using vlp::Index;
using vlp::Random;

#ifdef VLP_TEST_CUDA
using Losses = vlp::AllLosses<float, Device>;
#else
using Losses = vlp::AllLosses<double>;
#endif

constexpr LossSizes sizes{5, 7, 6, 4, 20}, others{7, 9, 3, 5, 33};

template <vlp::Loss L>
typename L::Accumulator forward(const L& loss, Device& device, LossCase<L>& given, SavedMemory& saved) {
  DeviceArray<typename L::Accumulator> value({not_a_result<typename L::Accumulator>()});
  typename L::Outputs outputs{};
  outputs.loss = value.data();
  loss.forward(device, given.inputs, outputs, saved.span());
  wait_for(device);
  value.download();
  return value.host()[0];
}

template <vlp::Loss L>
Arrays backward(const L& loss, Device& device, LossCase<L>& given, SavedMemory& saved) {
  loss.backward(device, given.inputs, saved.span(), 1, given.gradients);
  wait_for(device);
  return given.gradient_values();
}

/// Value and gradients of a loss that keeps its own memory.
template <vlp::Loss L>
struct Alone {
  Alone(const Arrays& arrays, const typename L::Options& options) {
    LossCase<L> given(arrays);
    value = given.run(options);
    gradients = given.gradient_values();
  }
  typename L::Accumulator value;
  Arrays gradients;
};

/// Options of a loss that change what is saved.
template <vlp::Loss L>
std::vector<typename L::Options> options_to_try() {
  std::vector<typename L::Options> out(1);
  if constexpr (requires(typename L::Options options) { options.kept_score_bytes; }) {
    out.push_back({.duplicate_policy = vlp::DuplicatePolicy::ignore, .kept_score_bytes = 64});
    out.push_back({.duplicate_policy = vlp::DuplicatePolicy::positives, .kept_score_bytes = 1 << 20});
  }
  if constexpr (requires(typename L::Options options) { options.perturbed_as_negatives; }) {
    out.push_back(L::Options::neg_clip());
    out.push_back({.alpha = 0, .beta = 0.5});
    out.push_back({.alpha = 0.5, .beta = 0});
  }
  return out;
}

template <class T, std::size_t Rank>
void forget_data(vlp::View<const T, Rank>& view) {
  view = {nullptr, view.extents(), view.strides()};
}
template <class T>
void forget_data(std::span<const T>& ids) {
  ids = {static_cast<const T*>(nullptr), ids.size()};
}
template <class T>
void forget_data(const T*& number) {
  number = nullptr;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("every loss may go forward twice before it goes back twice, in either order", "",
                        Losses) {
  using L = TestType;
  Random random(21);
  const std::array<Arrays, 2> arrays{inputs_of<L>(random, sizes), inputs_of<L>(random, others)};
  for (const auto& options : options_to_try<L>()) {
    const std::array want{Alone<L>(arrays[0], options), Alone<L>(arrays[1], options)};
    const L loss(options);
    auto device = make_device(3);
    for (const std::array<std::size_t, 2> order : {std::array<std::size_t, 2>{0, 1}, {1, 0}}) {
      std::array<LossCase<L>, 2> given{LossCase<L>(arrays[0]), LossCase<L>(arrays[1])};
      std::array<SavedMemory, 2> saved{SavedMemory(loss.saved_bytes(given[0].inputs)),
                                       SavedMemory(loss.saved_bytes(given[1].inputs), 0)};
      for (const std::size_t i : {0, 1}) CHECK(forward(loss, device, given[i], saved[i]) == want[i].value);
      for (const std::size_t i : order)
        CHECK(same_bits(backward(loss, device, given[i], saved[i]), want[i].gradients));
    }
  }
}

TEMPLATE_LIST_TEST_CASE("every loss writes all that it reads of what is saved, and nothing beyond", "",
                        Losses) {
  using L = TestType;
  Random random(22);
  const Arrays arrays = inputs_of<L>(random, sizes);
  for (const auto& options : options_to_try<L>()) {
    const Alone<L> want(arrays, options);
    const L loss(options);
    for (const int variation : {1, 2, 3}) {
      LossCase<L> given(arrays);
      SavedMemory saved(loss.saved_bytes(given.inputs),
                        static_cast<unsigned char>(variation == 2 ? 0 : 0xff));
      auto device = make_device(variation);
      CHECK(forward(loss, device, given, saved) == want.value);
      CHECK(same_bits(backward(loss, device, given, saved), want.gradients));
      CHECK(same_bits(backward(loss, device, given, saved), want.gradients));  // backward writes nothing
      CHECK(saved.guards_are_whole());
    }
  }
}

TEMPLATE_LIST_TEST_CASE("what every loss saves may be moved, and read on another device by another loss", "",
                        Losses) {
  using L = TestType;
  Random random(23);
  const Arrays arrays = inputs_of<L>(random, sizes);
  for (const auto& options : options_to_try<L>()) {
    const Alone<L> want(arrays, options);
    LossCase<L> given(arrays), elsewhere(arrays);
    const std::size_t bytes = L(options).saved_bytes(given.inputs);
    SavedMemory saved(bytes), moved(bytes, 0);
    {
      auto device = make_device(2);
      forward(L(options), device, given, saved);
    }
    moved.copy_from(saved);
    auto device = make_device();
    CHECK(same_bits(backward(L(options), device, elsewhere, moved), want.gradients));
  }
}

TEMPLATE_LIST_TEST_CASE("every loss says how much it saves by extents alone", "", Losses) {
  using L = TestType;
  Random random(24);
  LossCase<L> given(inputs_of<L>(random, sizes));
  typename L::Inputs empty = given.inputs;
  L::for_each_input(empty, given.gradients,
                    [](std::string_view, auto& input, auto&...) { forget_data(input); });
  for (const auto& options : options_to_try<L>()) {
    const L loss(options);
    CHECK(loss.saved_bytes(empty) == loss.saved_bytes(given.inputs));
    CHECK(loss.saved_bytes(empty) % Device::Memory::alignment == 0);
  }
}

TEMPLATE_LIST_TEST_CASE("every loss refuses memory that is too little or lies wrong", "", Losses) {
  using L = TestType;
  Random random(25);
  LossCase<L> given(inputs_of<L>(random, sizes));
  const L loss;
  const std::size_t bytes = loss.saved_bytes(given.inputs);
  if (bytes == 0) return;
  auto device = make_device();
  SavedMemory saved(bytes + Device::Memory::alignment);
  const auto check_refusal = [&](std::span<std::byte> memory, std::string_view why) {
    for (const bool back : {false, true})
      CHECK_THAT(message_of<std::invalid_argument>([&] {
                   if (back)
                     loss.backward(device, given.inputs, memory, 1, given.gradients);
                   else
                     loss.forward(device, given.inputs, {}, memory);
                 }),
                 ContainsSubstring(std::string(L::name) + ": saved ") && ContainsSubstring(std::string(why)));
  };
  check_refusal(saved.span().first(bytes - 1), " are needed");
  check_refusal(saved.span().subspan(Device::Memory::alignment / 2), "is not at a multiple of ");
  wait_for(device);
}

#ifndef VLP_TEST_CUDA
TEMPLATE_LIST_TEST_CASE("every loss serves two threads that have a device and memory each", "", Losses) {
  using L = TestType;
  Random random(26);
  const std::array<Arrays, 2> arrays{inputs_of<L>(random, sizes), inputs_of<L>(random, others)};
  const std::array want{Alone<L>(arrays[0], {}), Alone<L>(arrays[1], {})};
  const L loss;
  std::array<int, 2> right{};
  const auto work = [&](std::size_t i) {
    LossCase<L> given(arrays[i]);
    SavedMemory saved(loss.saved_bytes(given.inputs));
    vlp::Cpu device(2);
    for (int n = 0; n < 50; ++n)
      right[i] += forward(loss, device, given, saved) == want[i].value &&
                          same_bits(backward(loss, device, given, saved), want[i].gradients)
                      ? 1
                      : 0;
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  CHECK(right == std::array{50, 50});
}
#endif
