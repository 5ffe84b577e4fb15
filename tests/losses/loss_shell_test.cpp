#include "support/catch.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/into.hpp>
#include <vlp/losses/detail/loss_shell.hpp>
#include <vlp/losses/loss.hpp>

#include <array>
#include <stdexcept>
#include <string>
#include <string_view>

// The frame of all losses, on a loss that only writes down what is asked of it.

namespace {

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
  };
  struct Outputs {
    float* loss = nullptr;
    bool fits = true;
  };
  struct Gradients {
    bool fits = true;
    vlp::Into into = vlp::Into::overwrite;
  };

  template <class InputsType, class GradientsType, class Visit>
  static void for_each_input(InputsType&, GradientsType&, Visit&&) {}
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

struct FakeBackend {
  using Inputs = FakeInterface::Inputs;
  explicit FakeBackend(const FakeInterface::Options&) {}
  static void check_values(const Inputs& inputs) { require(inputs.columns != 13, "fake: bad values"); }
  static void forward(Cpu&, const Inputs& inputs, const FakeInterface::Outputs&) {
    calls += 'f';
    require(!inputs.throws, "fake: forward fails");
  }
  static void backward(Cpu&, const Inputs&, float, const FakeInterface::Gradients&) { calls += 'b'; }
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
constexpr bool has_forward_backward = requires(L loss, Cpu& device) {
  loss.forward_backward(device, {}, 1, {}, {});
};
static_assert(has_forward_backward<FakeAtOnce> && !has_forward_backward<Fake>);

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
  CHECK_THROWS_WITH(loss.forward_backward(device, {2, 4}, 1, {nullptr, false}, {}), "fake: bad outputs");
  CHECK_THROWS_WITH(loss.forward_backward(device, {2, 4}, 1, {}, {false}), "fake: bad gradients");
  CHECK(calls.empty());
  loss.forward(device, {2, 4}, {});
  CHECK_THROWS_WITH(loss.backward(device, {1, 4}, 1, {}), "fake: bad inputs");
  CHECK_THROWS_WITH(loss.backward(device, {2, 13}, 1, {}), "fake: bad values");
  CHECK_THROWS_WITH(loss.backward(device, {2, 4}, 1, {false}), "fake: bad gradients");
  CHECK(calls == "f");
}

TEST_CASE("The frame of losses goes back only through a forward of the same sizes that succeeded") {
  const std::string none = "fake: backward is called without a forward before it";
  Cpu device(1);
  FakeAtOnce loss;
  calls.clear();
  CHECK_THROWS_WITH(loss.backward(device, {2, 4}, 1, {}), none);
  loss.forward(device, {2, 4}, {});
  CHECK_THROWS_WITH(loss.backward(device, {2, 5}, 1, {}),
                    "fake: backward is given 2 x 5 but forward had 2 x 4 (rows x columns)");
  CHECK_THROWS_WITH(loss.forward(device, {0, 9}, {}), "fake: bad inputs");
  loss.backward(device, {2, 4}, 1, {});  // arguments that were refused change nothing
  loss.backward(device, {2, 4}, 1, {});
  CHECK(calls == "fbb");

  CHECK_THROWS_WITH(loss.forward(device, {2, 4, true}, {}), "fake: forward fails");
  CHECK_THROWS_WITH(loss.backward(device, {2, 4}, 1, {}), none);
  loss.forward_backward(device, {3, 4}, 1, {}, {});
  loss.backward(device, {3, 4}, 1, {});
  CHECK_THROWS_WITH(loss.forward_backward(device, {3, 4, true}, 1, {}, {}), "fake: both fail");
  CHECK_THROWS_WITH(loss.backward(device, {3, 4}, 1, {}), none);
  CHECK(calls == "fbbf2b2");
}
