#include "support/catch.hpp"
#include "support/device.hpp"

#include <vlp/core/parameters.hpp>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/core/transfer.cuh>

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

namespace {

using namespace vlp::test;
using vlp::Index;

/// A layer's parameters, on the device.
struct Model {
  vlp::Parameter<float, vlp::Cuda> weight{{2, 3}, vlp::WeightDecay::yes, 1.5F}, bias{{2}};

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    visit(vlp::join_names(prefix, "weight"), weight);
    visit(vlp::join_names(prefix, "bias"), bias);
  }
};

}  // namespace

TEMPLATE_TEST_CASE("CUDA memory is filled, uploaded and downloaded", "", float, double, vlp::Half, Index) {
  vlp::Cuda device = make_device(1);
  vlp::cuda::Buffer<TestType> memory;
  // More than one pass of the grid over the array.
  const Index size = 8 * 256 * static_cast<Index>(device.multiprocessors()) + 300;
  std::vector<TestType> host(static_cast<std::size_t>(size) + 1);
  const auto value = [](double x) { return from_double<TestType>(x); };
  fill(device, memory.resize(size + 1), size + 1, value(1));
  fill(device, memory.data(), size, value(3));
  download(device, memory.data(), std::span<TestType>(host));
  CHECK(std::all_of(host.begin(), host.end() - 1, [](TestType x) { return to_double(x) == 3; }));
  CHECK(to_double(host.back()) == 1);

  std::vector<TestType> some{value(4), value(5)};
  upload(device, some, memory.data() + 1);
  some = {value(9), value(9)};  // pageable memory may be reused
  std::vector<TestType> four(4);
  download(device, memory.data(), std::span<TestType>(four));
  CHECK(to_double(four[0]) == 3);
  CHECK(to_double(four[1]) == 4);
  CHECK(to_double(four[2]) == 5);
  CHECK(to_double(four[3]) == 3);

  copy(device, memory.data() + 1, 2, memory.data() + 5);
  std::vector<TestType> copied(3);
  download(device, memory.data() + 5, std::span<TestType>(copied));
  CHECK(to_double(copied[0]) == 4);
  CHECK(to_double(copied[1]) == 5);
  CHECK(to_double(copied[2]) == 3);

  // Nothing to do is nothing done, even without memory.
  TestType* const none = nullptr;
  copy(device, none, 0, none);
  fill(device, none, 0, value(0));
  upload(device, std::span<const TestType>(), none);
  download(device, none, std::span<TestType>());
}

TEST_CASE("CUDA holds the parameters of a model") {
  vlp::Cuda device = make_device(1);
  Model model;
  vlp::Parameters<float, vlp::Cuda> parameters(device, model);
  CHECK(download_value(device, model.weight) == std::vector<float>(6, 1.5F));
  CHECK(download_gradient(device, model.weight) == std::vector<float>(6));
  upload_value(device, model.bias, std::vector<float>{1, 2});
  CHECK(download_value(device, model.bias) == std::vector<float>{1, 2});
  fill(device, parameters.gradients().data(), parameters.gradients().size(), 7.0F);
  CHECK(download_gradient(device, model.bias) == std::vector<float>{7, 7});
  parameters.zero_gradients(device);
  CHECK(download_gradient(device, model.bias) == std::vector<float>{0, 0});
}
