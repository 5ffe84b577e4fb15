#include "support/catch.hpp"
#include "support/layer_gradient.hpp"
#include "support/messages.hpp"

#include <vlp/core/parameters.hpp>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace vlp;
using namespace vlp::test;

namespace {

template <class Scalar, class Device>
struct Model {
  Parameter<Scalar, Device> weight{{3, 7}, WeightDecay::yes}, bias{{3}, WeightDecay::no, Scalar(2)},
      none{{0, 4}};
  bool ties = false;

  Model() {
    int next = 0;
    weight.initialise([&] { return next++; });
  }
  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    visit(join_names(prefix, "weight"), weight);
    visit(join_names(prefix, "none"), none);
    visit(join_names(prefix, "bias"), bias);
    if (ties) visit(join_names(prefix, "tied"), weight);
  }
};

}  // namespace

TEMPLATE_TEST_CASE("a model's parameters share one memory for values and one for gradients", "",
                   (std::pair<float, Cpu>), (std::pair<float, Guarded>), (std::pair<double, Guarded>)) {
  using Scalar = typename TestType::first_type;
  using Device = typename TestType::second_type;
  using Numbers = std::vector<Scalar>;
  Device device(2);
  Model<Scalar, Device> model;
  CHECK(model.weight.size() == 21);
  CHECK(!model.weight.is_placed());
  CHECK(message_of<std::invalid_argument>([&] { static_cast<void>(model.weight.matrix()); }) ==
        "Parameter: [3, 7] has no memory yet; make Parameters of its model before the model is used");
  CHECK_THROWS_AS(model.bias.value(), std::invalid_argument);
  CHECK_THROWS_AS(model.bias.gradient(), std::invalid_argument);
  CHECK_THROWS_AS(model.bias.gradient_matrix(), std::invalid_argument);

  Parameters<Scalar, Device> made(device, model, "head");
  Parameters<Scalar, Device> parameters = std::move(made);  // moving leaves the pointers valid
  REQUIRE(parameters.list().size() == 3);
  CHECK(parameters.list()[0].name == "head.weight");
  CHECK(parameters.list()[2].name == "head.bias");
  CHECK(parameters.list()[0].parameter == &model.weight);
  CHECK(parameters.size() == 24);

  // Each begins at a multiple of 64 bytes, padding is zero.
  constexpr Index line = 64 / sizeof(Scalar), begin = (21 + line - 1) / line * line;
  CHECK(parameters.values().size() == begin + line);
  CHECK(parameters.gradients().size() == begin + line);
  CHECK(reinterpret_cast<std::uintptr_t>(parameters.values().data()) % 64 == 0);
  CHECK(model.weight.value().data() == parameters.values().data());
  CHECK(model.bias.value().data() == parameters.values().data() + begin);
  CHECK(model.bias.gradient().data() == parameters.gradients().data() + begin);
  Numbers expected(static_cast<std::size_t>(begin + line));
  for (std::size_t i = 0; i < 21; ++i) expected[i] = static_cast<Scalar>(i);
  for (std::size_t i = 0; i < 3; ++i) expected[static_cast<std::size_t>(begin) + i] = 2;
  CHECK(downloaded<Scalar>(device, parameters.values().data(), parameters.values().size()) == expected);
  CHECK(downloaded<Scalar>(device, parameters.gradients().data(), parameters.gradients().size()) ==
        Numbers(expected.size()));

  CHECK(model.weight.matrix().rows() == 3);
  CHECK(model.weight.matrix().cols() == 7);
  CHECK(model.none.matrix().cols() == 0);
  CHECK(download_value(device, model.bias) == Numbers{2, 2, 2});
  upload_value(device, model.bias, Numbers{4, 5, 6});
  CHECK(download_value(device, model.bias) == Numbers{4, 5, 6});
  CHECK(message_of<std::invalid_argument>([&] {
          upload_value(device, model.bias, Numbers{4, 5});
        }) == "upload_value: 2 values for a parameter of 3");
  fill(device, parameters.gradients().data(), parameters.gradients().size(), Scalar(7));
  CHECK(download_gradient(device, model.bias) == Numbers{7, 7, 7});
  parameters.zero_gradients(device);
  CHECK(download_gradient(device, model.bias) == Numbers{0, 0, 0});
  CHECK(download_gradient(device, model.weight) == Numbers(21));
  CHECK(download_value(device, model.bias) == Numbers{4, 5, 6});
}

TEST_CASE("parameters are given memory once, each") {
  Cpu device(1);
  Model<float, Cpu> model;
  model.ties = true;
  CHECK(message_of<std::invalid_argument>([&] { Parameters<float>(device, model, "m"); }) ==
        "Parameters: 'm.weight' and 'm.tied' are the same parameter");
  CHECK(!model.weight.is_placed());
  model.ties = false;
  const Parameters<float> parameters(device, model);
  CHECK(message_of<std::invalid_argument>([&] { Parameters<float>(device, model); }) ==
        "Parameters: 'weight' has memory already; the Parameters of a model are made once");
  CHECK(message_of<std::invalid_argument>([&] { model.bias.initialise([] { return 1; }); }) ==
        "Parameter: [3] is initialised after it was given memory");
  CHECK(model.bias.value()[2] == 2);
}

TEMPLATE_TEST_CASE("fill, upload and download", "", Cpu, Guarded) {
  TestType device(3);
  const Index size = (Index(1) << 19) + 5;  // three runs
  const ArrayOn<float, TestType> array(device, std::vector<float>(static_cast<std::size_t>(size) + 1, 1.0f));
  fill(device, array.data(), size, 3.0f);
  std::vector<float> expected(static_cast<std::size_t>(size) + 1, 3.0f);
  expected.back() = 1;
  CHECK(array.host() == expected);
  upload(device, std::vector<float>{4, 5}, array.data() + 1);
  CHECK(downloaded(device, array.data(), 4) == std::vector<float>{3, 4, 5, 3});
}

TEST_CASE("a parameter of extents that no memory has is refused") {
  const auto refusal = [](std::vector<Index> extents) {
    return message_of<std::invalid_argument>([&] { Parameter<float>(std::move(extents)); });
  };
  const std::string rest = ", but each must be at least 0 and their product below 2^63";
  CHECK(refusal({Index{1} << 32, Index{1} << 32}) ==
        "Parameter: the extents are 4294967296 x 4294967296" + rest);
  CHECK(refusal({-4}) == "Parameter: the extents are -4" + rest);
  CHECK(refusal({-2, -3}) == "Parameter: the extents are -2 x -3" + rest);
  CHECK(refusal({Index{1} << 62}) ==
        "Parameter: there is no memory of 4611686018427387904 elements of 4 bytes");
  CHECK(Parameter<float>({0, 4}).size() == 0);
}
