#include "losses/every_loss.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"

#include <vlp/losses/all.hpp>

#include <atomic>
#include <cmath>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

// What a call that throws leaves behind, for every loss. tests/losses/out_of_memory has the calls that find
// no memory.

namespace {

using namespace vlp::test;
using vlp::Cpu;
using vlp::Random;

constexpr LossSizes sizes{6, 8, 7, 4, 20}, others{5, 12, 7, 6, 33};

/// A view of the inputs without its last slice, without its last column, or of no data.
enum class Spoil { slice, column, all };

template <class T, std::size_t Rank>
void spoil(vlp::View<const T, Rank>& view, Spoil how) {
  if (!view.given() || how == Spoil::all) {
    view = {};
    return;
  }
  auto extents = view.extents();
  --extents[how == Spoil::slice ? 0 : Rank - 1];
  view = {view.data(), extents, view.strides()};
}
template <class T>
void spoil(std::span<const T>& ids, Spoil how) {
  if (!ids.empty()) ids = how == Spoil::all ? std::span<const T>() : ids.first(ids.size() - 1);
}
template <class T>
void spoil(const T*& number, Spoil) {
  number = nullptr;
}

/// Puts all rows of a view in one place; says whether it had more than one.
template <class T, std::size_t Rank>
bool overlap_rows(vlp::View<T, Rank>& view) {
  if (!view.given() || Rank < 2 || view.extent(0) < 2) return false;
  auto strides = view.strides();
  strides[0] = 0;
  view = {view.data(), view.extents(), strides};
  return true;
}
template <class T>
bool overlap_rows(T*&) {
  return false;
}

/// Goes back through a forward of `given`, where the loss still can: then gradients are `want`, to the bit;
/// else it says that there is none.
template <vlp::Loss L>
void check_backward_or_refusal(L& loss, Cpu& device, LossCase<L>& given, const Arrays& want) {
  const std::string message =
      message_of<std::invalid_argument>([&] { loss.backward(device, given.inputs, 1, given.gradients); });
  CAPTURE(message);
  if (message == "no error")
    CHECK(same_bits(given.gradient_values(), want));
  else
    CHECK(message == std::string(L::name) + ": backward is called without a forward before it");
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("every loss that was given wrong inputs is as it was, or says that it is not", "",
                        vlp::AllLosses<float>) {
  using L = TestType;
  Random random(5);
  const Arrays arrays = inputs_of<L>(random, sizes);
  LossCase<L> alone(arrays);
  const auto value = alone.run({});
  const Arrays want = alone.gradient_values();

  for (const Spoil how : {Spoil::slice, Spoil::column, Spoil::all}) {
    LossCase<L> names(arrays);
    L::for_each_input(names.inputs, names.gradients, [&](std::string_view name, auto&, auto&...) {
      CAPTURE(name, how);
      LossCase<L> given(arrays), spoilt(arrays);
      L::for_each_input(spoilt.inputs, spoilt.gradients, [&](std::string_view other, auto& input, auto&...) {
        if (other == name) spoil(input, how);
      });
      Cpu device(2);
      L loss;
      CHECK(given.forward(loss, device) == value);
      const std::string forward =
          message_of<std::invalid_argument>([&] { loss.forward(device, spoilt.inputs, {}); });
      if (forward != "no error") {                       // else the input may be left out
        CHECK(forward.find(": ") != std::string::npos);  // by the name of the loss, or of a term of it
        check_backward_or_refusal(loss, device, given, want);
        CHECK_THROWS_AS(loss.backward(device, spoilt.inputs, 1, {}), std::invalid_argument);
      }
      CHECK(given.forward(loss, device) == value);
      loss.backward(device, given.inputs, 1, given.gradients);
      CHECK(same_bits(given.gradient_values(), want));
    });
  }
}

TEMPLATE_LIST_TEST_CASE("every loss refuses to go back through a forward of other sizes", "",
                        vlp::AllLosses<float>) {
  using L = TestType;
  Random random(6);
  LossCase<L> given(inputs_of<L>(random, sizes)), larger(inputs_of<L>(random, others));
  LossSizes wider = sizes;
  ++wider.features;
  ++wider.vocabulary;
  LossCase<L> wide(inputs_of<L>(random, wider));
  Cpu device(2);
  L loss;
  given.forward(loss, device);
  for (LossCase<L>* const other : {&larger, &wide})
    CHECK_THAT(
        message_of<std::invalid_argument>([&] { loss.backward(device, other->inputs, 1, other->gradients); }),
        ContainsSubstring(": backward is given "));
  loss.backward(device, given.inputs, 1, given.gradients);
}

TEMPLATE_LIST_TEST_CASE(
    "every loss refuses more words than it was promised, and its forward before is right or gone", "",
    vlp::AllLosses<float>) {
  using L = TestType;
  if constexpr (requires(typename L::Inputs inputs) { inputs.word_capacity; }) {
    Random random(7);
    const Arrays arrays = inputs_of<L>(random, sizes);
    LossCase<L> given(arrays), more(inputs_of<L>(random, sizes)), alone(arrays);
    more.inputs.word_capacity = sizes.batch;
    alone.run({});
    Cpu device(2);
    L loss;
    given.forward(loss, device);
    CHECK_THROWS_AS(loss.forward(device, more.inputs, {}), std::invalid_argument);
    check_backward_or_refusal(loss, device, given, alone.gradient_values());
    CHECK_THROWS_AS(loss.backward(device, more.inputs, 1, more.gradients), std::invalid_argument);
  }
}

TEMPLATE_LIST_TEST_CASE("every loss is moved with its forward, and may be used again after it", "",
                        vlp::AllLosses<float>) {
  using L = TestType;
  Random random(8);
  const Arrays arrays = inputs_of<L>(random, sizes);
  LossCase<L> given(arrays), alone(arrays);
  const auto value = alone.run({});
  Cpu device(2);
  L first;
  CHECK(given.forward(first, device) == value);
  L second = std::move(first);
  second.backward(device, given.inputs, 1, given.gradients);
  CHECK(same_bits(given.gradient_values(), alone.gradient_values()));
  CHECK(given.forward(first, device) == value);  // NOLINT(bugprone-use-after-move): what is tested
  first.backward(device, given.inputs, 1, given.gradients);
  CHECK(same_bits(given.gradient_values(), alone.gradient_values()));
}

TEMPLATE_LIST_TEST_CASE("every loss with a number that is not finite has a loss that is not finite", "",
                        vlp::AllLosses<float>) {
  using L = TestType;
  Random random(9);
  const Arrays arrays = inputs_of<L>(random, sizes);
  LossCase<L> names(arrays);
  L::for_each_input(names.inputs, names.gradients,
                    [&](std::string_view name, auto&, [[maybe_unused]] auto&... gradient) {
                      if constexpr (sizeof...(gradient) == 1) {
                        if (!arrays.contains(std::string(name))) return;
                        for (const double wrong : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
                          CAPTURE(name, wrong);
                          Arrays spoilt = arrays;
                          spoilt.at(std::string(name)).values[0] = wrong;
                          // exp(-inf) is 0: a scale like any other; logits of -inf are tokens that cannot be.
                          const bool is_limit = wrong < 0 && (name.ends_with("log_scale") || name == "bias");
                          const auto value = LossCase<L>(spoilt).run({});
                          CHECK((is_limit || !std::isfinite(value)));
                        }
                      }
                    });
}

TEMPLATE_LIST_TEST_CASE("every loss refuses gradients whose rows overlap", "", vlp::AllLosses<float>) {
  using L = TestType;
  Random random(10);
  const Arrays arrays = inputs_of<L>(random, sizes);
  LossCase<L> names(arrays);
  L::for_each_input(names.inputs, names.gradients,
                    [&](std::string_view name, auto&, [[maybe_unused]] auto&... gradient) {
                      LossCase<L> given(arrays);
                      bool is_spoilt = false;
                      L::for_each_input(given.inputs, given.gradients,
                                        [&](std::string_view other, auto&, [[maybe_unused]] auto&... view) {
                                          if (other == name) ((is_spoilt = overlap_rows(view)), ...);
                                        });
                      if (!is_spoilt) return;
                      CAPTURE(name);
                      Cpu device(1);
                      L loss;
                      given.forward(loss, device);
                      CHECK_THAT(message_of<std::invalid_argument>(
                                     [&] { loss.backward(device, given.inputs, 1, given.gradients); }),
                                 ContainsSubstring("so that its rows overlap"));
                    });
}

TEST_CASE("outputs whose rows overlap are refused") {
  using L = vlp::LocalAlignment<float>;
  Random random(12);
  LossCase<L> given(inputs_of<L>(random, sizes));
  const auto [batch, features, regions, words, vocabulary] = sizes;
  std::vector<float> memory(static_cast<std::size_t>(batch * words * regions));
  Cpu device(1);
  L loss;
  CHECK_THROWS_WITH(
      loss.forward(device, given.inputs, {nullptr, {memory.data(), {batch, batch}, {batch - 1, 1}}}),
      "local_alignment: similarity is 6 x 6 with strides of 5 x 1, so that its rows overlap");
  CHECK_THROWS_WITH(
      loss.forward(device, given.inputs,
                   {nullptr, {}, {memory.data(), {batch, words, regions}, {0, regions, 1}}}),
      "local_alignment: attention is 6 x 4 x 7 with strides of 0 x 7 x 1, so that its rows overlap");
}

TEMPLATE_LIST_TEST_CASE("every loss on a device that two threads share is right or says why not", "",
                        vlp::AllLosses<float>) {
  using L = TestType;
  Random random(11);
  const Arrays arrays = inputs_of<L>(random, sizes);
  LossCase<L> alone(arrays);
  const auto value = alone.run({});
  for (const int threads : {1, 2}) {
    Cpu device(threads);
    std::atomic<int> wrong = 0, right = 0, refused = 0;
    const auto work = [&] {
      LossCase<L> own(arrays);
      L loss;
      for (int i = 0; i < 200; ++i) {
        try {
          ++(own.forward(loss, device) == value ? right : wrong);
          loss.backward(device, own.inputs, 1, own.gradients);
          if (!same_bits(own.gradient_values(), alone.gradient_values())) ++wrong;
        } catch (const std::invalid_argument&) {
          ++wrong;
        } catch (const std::logic_error&) {
          ++refused;
        }
      }
    };
    std::thread other(work);
    work();
    other.join();
    CAPTURE(threads, right, refused);
    CHECK(wrong == 0);
    CHECK(right > 0);
  }
}
