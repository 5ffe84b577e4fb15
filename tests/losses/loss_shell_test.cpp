#include "support/catch.hpp"

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/detail/loss_shell.hpp>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/loss.hpp>

#include <array>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

// The frame of all losses, on a loss that only writes down what is asked of it.

namespace {

using vlp::Buffer;
using vlp::Cpu;
using vlp::Index;
using vlp::require;

std::string calls;

struct FakeInterface {
  using Scalar = float;
  using Accumulator = float;
  static constexpr std::string_view name = "fake";
  static constexpr std::string_view size_names = "rows x columns";
  struct Options {
    int option = 0;
  };
  struct Inputs {
    Index rows = 0, columns = 0;
    bool throws = false;
    float number = 0;  // what forward saves
  };
  struct Outputs {
    float* loss = nullptr;
    bool fits = true;
  };
  struct Gradients {
    bool fits = true;
    float* number = nullptr;  // where backward writes what forward saved
    vlp::Into into = vlp::Into::overwrite;
  };

  template <class InputsType, class GradientsType, class Visit>
  static void for_each_input(InputsType&, GradientsType&, Visit&&) {}
  template <class InputsType, class Visit>
  static void for_each_host_number(InputsType&, Visit&&) {}
  template <class OutputsType, class Visit>
  static void for_each_output(OutputsType&, Visit&&) {}
  template <class OptionsType, class Visit>
  static void for_each_option(OptionsType&, Visit&&) {}
  static std::array<Index, 2> sizes(const Inputs& inputs) { return {inputs.rows, inputs.columns}; }
  static void check_options(const Options& options) { require(options.option >= 0, name, ": bad option"); }
  static void check_inputs(const Inputs& inputs, const Options& options) {
    require(inputs.rows > options.option, name, ": bad inputs");
  }
  static void check_outputs(const Inputs&, const Outputs& outputs) {
    require(outputs.fits, name, ": bad outputs");
  }
  static void check_gradients(const Inputs&, const Gradients& gradients) {
    require(gradients.fits, name, ": bad gradients");
  }
};

/// Saves rows x columns numbers, and one.
struct FakeBackend {
  using Inputs = FakeInterface::Inputs;
  struct State {
    vlp::MatrixView<float> numbers;
    float* last;
  };

  explicit FakeBackend(const FakeInterface::Options&) {}
  static void check_values(const Inputs& inputs) { require(inputs.columns != 13, "fake: bad values"); }
  static State lay_out(vlp::detail::SavedArrays<vlp::HostMemory>& arrays, const Inputs& inputs) {
    const auto numbers = arrays.take_view<float>(inputs.rows, inputs.columns);
    return {numbers, arrays.take<float>(1)};
  }
  static void forward(Cpu&, const Inputs& inputs, const FakeInterface::Outputs&, const State& state) {
    calls += 'f';
    require(!inputs.throws, "fake: forward fails");
    for (Index i = 0; i < inputs.rows; ++i)
      for (Index j = 0; j < inputs.columns; ++j) state.numbers(i, j) = inputs.number;
    *state.last = inputs.number;
  }
  static void backward(Cpu&, const Inputs& inputs, const State& state, float upstream,
                       const FakeInterface::Gradients& gradients) {
    calls += 'b';
    if (gradients.number == nullptr) return;
    const float first = state.numbers(inputs.rows - 1, inputs.columns - 1);
    *gradients.number = first == *state.last ? upstream * first : -1;
  }
};
struct FakeBackendAtOnce : FakeBackend {
  using FakeBackend::FakeBackend;
  static void forward_backward(Cpu&, const Inputs& inputs, float, const FakeInterface::Outputs&,
                               const FakeInterface::Gradients&) {
    calls += '2';
    require(!inputs.throws, "fake: both fail");
  }
};

using Fake = vlp::detail::LossShell<FakeInterface, Cpu, FakeBackend>;
using FakeAtOnce = vlp::detail::LossShell<FakeInterface, Cpu, FakeBackendAtOnce>;
static_assert(vlp::Loss<Fake> && vlp::Loss<FakeAtOnce>);

template <class L>
constexpr bool has_forward_backward = requires(const L& loss, Cpu& device) {
  loss.forward_backward(device, {}, 1, {}, {});
};
static_assert(has_forward_backward<FakeAtOnce> && !has_forward_backward<Fake>);

/// Memory for what a forward saves.
struct Saved {
  explicit Saved(std::size_t bytes) : memory(static_cast<Index>(bytes)) {}
  [[nodiscard]] std::span<std::byte> span() const {
    return {memory.data(), static_cast<std::size_t>(memory.size())};
  }
  Buffer<std::byte> memory;
};

}  // namespace

TEST_CASE("The frame of losses refuses arguments before the backend sees them") {
  CHECK_THROWS_WITH(Fake({-1}), "fake: bad option");
  CHECK(Fake({3}).options().option == 3);
  Cpu device(1);
  FakeAtOnce loss({1});
  calls.clear();
  CHECK_THROWS_WITH(loss.forward(device, {1, 4}, {}), "fake: bad inputs");
  CHECK_THROWS_WITH(loss.forward(device, {2, 13}, {}), "fake: bad values");
  CHECK_THROWS_WITH(loss.forward(device, {2, 4}, {nullptr, false}), "fake: bad outputs");
  CHECK_THROWS_WITH(loss.forward_backward(device, {1, 4}, 1, {}, {}), "fake: bad inputs");
  CHECK_THROWS_WITH(loss.forward_backward(device, {2, 13}, 1, {}, {}), "fake: bad values");
  CHECK_THROWS_WITH(loss.forward_backward(device, {2, 4}, 1, {nullptr, false}, {}), "fake: bad outputs");
  CHECK_THROWS_WITH(loss.forward_backward(device, {2, 4}, 1, {}, {false}), "fake: bad gradients");
  CHECK(calls.empty());
  loss.forward(device, {2, 4}, {});
  CHECK_THROWS_WITH(loss.backward(device, {1, 4}, 1, {}), "fake: bad inputs");
  CHECK_THROWS_WITH(loss.backward(device, {2, 13}, 1, {}), "fake: bad values");
  CHECK_THROWS_WITH(loss.backward(device, {2, 4}, 1, {false}), "fake: bad gradients");
  CHECK(calls == "f");
}

TEST_CASE("The frame of losses refuses the same arguments with the caller's memory") {
  Cpu device(1);
  const Fake loss({1});
  const Saved saved(1024);
  const std::span<std::byte> memory = saved.span();
  calls.clear();
  CHECK_THROWS_WITH(loss.forward(device, {1, 4}, {}, memory), "fake: bad inputs");
  CHECK_THROWS_WITH(loss.forward(device, {2, 13}, {}, memory), "fake: bad values");
  CHECK_THROWS_WITH(loss.forward(device, {2, 4}, {nullptr, false}, memory), "fake: bad outputs");
  CHECK_THROWS_WITH(loss.backward(device, {1, 4}, memory, 1, {}), "fake: bad inputs");
  CHECK_THROWS_WITH(loss.backward(device, {2, 13}, memory, 1, {}), "fake: bad values");
  CHECK_THROWS_WITH(loss.backward(device, {2, 4}, memory, 1, {false}), "fake: bad gradients");
  CHECK(calls.empty());
}

TEST_CASE("The frame of losses refuses memory that is too little or lies wrong") {
  Cpu device(1);
  const Fake loss;
  const FakeInterface::Inputs inputs{5, 4};
  CHECK(loss.saved_bytes(inputs) == 192);  // 20 numbers and one, each at a multiple of 64 bytes
  CHECK(loss.saved_bytes({4, 4}) == 128);
  const Saved saved(256);
  calls.clear();
  const std::string too_little = "fake: saved has 191 bytes, but 192 are needed";
  CHECK_THROWS_WITH(loss.forward(device, inputs, {}, saved.span().first(191)), too_little);
  CHECK_THROWS_WITH(loss.backward(device, inputs, saved.span().first(191), 1, {}), too_little);
  CHECK_THROWS_WITH(loss.forward(device, inputs, {}, {}), "fake: saved has 0 bytes, but 192 are needed");
  const std::string wrong = "fake: saved is not at a multiple of 64 bytes";
  CHECK_THROWS_WITH(loss.forward(device, inputs, {}, saved.span().subspan(32)), wrong);
  CHECK_THROWS_WITH(loss.backward(device, inputs, saved.span().subspan(32), 1, {}), wrong);
  CHECK(calls.empty());
  loss.forward(device, inputs, {}, saved.span().first(192));
  loss.backward(device, inputs, saved.span().first(192), 1, {});
  CHECK(calls == "fb");
  CHECK_THROWS_WITH(loss.saved_bytes({Index{1} << 31, Index{1} << 31}), ContainsSubstring("saved"));
}

TEST_CASE("The frame of losses hands backward what forward wrote to the caller's memory") {
  Cpu device(1);
  const Fake loss;
  const Saved first(256), second(256);
  loss.forward(device, {3, 2, false, 5}, {}, first.span());
  loss.forward(device, {2, 4, false, 7}, {}, second.span());
  float number = 0;
  loss.backward(device, {3, 2}, first.span(), 10, {true, &number});
  CHECK(number == 50);
  loss.backward(device, {2, 4}, second.span(), 2, {true, &number});
  CHECK(number == 14);
}

TEST_CASE("The frame of losses goes back only through a forward of the same sizes that succeeded") {
  const std::string none = "fake: backward is called without a forward before it";
  Cpu device(1);
  FakeAtOnce loss;
  calls.clear();
  CHECK_THROWS_WITH(loss.backward(device, {2, 4}, 1, {}), none);
  loss.forward(device, {2, 4, false, 3}, {});
  CHECK_THROWS_WITH(loss.backward(device, {2, 5}, 1, {}),
                    "fake: backward is given 2 x 5 but forward had 2 x 4 (rows x columns)");
  CHECK_THROWS_WITH(loss.forward(device, {0, 9}, {}), "fake: bad inputs");
  float number = 0;
  loss.backward(device, {2, 4}, 1, {});  // arguments that were refused change nothing
  loss.backward(device, {2, 4}, 1, {true, &number});
  CHECK(number == 3);
  CHECK(calls == "fbb");

  CHECK_THROWS_WITH(loss.forward(device, {2, 4, true}, {}), "fake: forward fails");
  CHECK_THROWS_WITH(loss.backward(device, {2, 4}, 1, {}), none);
}

TEST_CASE("The frame of losses keeps its own forward through passes that save elsewhere or nowhere") {
  Cpu device(1);
  FakeAtOnce loss;
  const Saved saved(256);
  loss.forward(device, {3, 4, false, 8}, {});
  calls.clear();
  const FakeAtOnce& constant = loss;
  constant.forward(device, {2, 5, false, 9}, {}, saved.span());
  constant.forward_backward(device, {7, 4}, 1, {}, {});
  CHECK_THROWS_WITH(constant.forward_backward(device, {3, 4, true}, 1, {}, {}), "fake: both fail");
  float number = 0;
  loss.backward(device, {3, 4}, 1, {true, &number});
  CHECK(number == 8);
  CHECK(calls == "f22b");
  CHECK_THROWS_WITH(FakeAtOnce().backward(device, {7, 4}, 1, {}),
                    "fake: backward is called without a forward before it");
}
