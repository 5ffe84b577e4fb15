#include "interop/torch/plain.hpp"
#include "losses/every_loss.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/loss_case.hpp"
#include "support/messages.hpp"

#include <vlp/interop/torch.hpp>
#include <vlp/losses/all.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

// Losses as LibTorch differentiates them.

namespace {

using namespace vlp::test;
using vlp::Index;
using vlp::NamedTensors;
using vlp::Random;
using vlp::TorchLoss;

using Losses = vlp::AllLosses<double>;
using InfoNce = vlp::InfoNce<float>;
using LocalAlignment = vlp::LocalAlignment<double>;

constexpr LossSizes sizes{5, 7, 6, 4, 20}, others{4, 9, 3, 5, 33};

/// A test's arrays as tensors of the types that L takes; those that have gradients require them.
template <vlp::Loss L>
NamedTensors tensors_of(const Arrays& arrays) {
  NamedTensors out;
  typename L::Inputs inputs{};
  typename L::Gradients gradients{};
  L::for_each_input(inputs, gradients, [&](std::string_view name, auto& input, auto&... gradient) {
    const auto found = arrays.find(std::string(name));
    if (found == arrays.end()) return;
    constexpr auto type = vlp::detail::torch_type<decltype(vlp::detail::element_of(input))>;
    out[found->first] = torch::tensor(found->second.values, torch::kDouble)
                            .reshape(found->second.shape)
                            .to(type)
                            .requires_grad_(sizeof...(gradient) > 0);
  });
  return out;
}

Array array_of(const torch::Tensor& tensor) {
  const auto flat = tensor.detach().to(torch::kDouble).contiguous().reshape({-1});
  return {tensor.sizes().vec(), {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()}};
}

/// The gradients of those that have one.
Arrays gradients_of(const NamedTensors& tensors) {
  Arrays out;
  for (const auto& [name, tensor] : tensors)
    if (tensor.grad().defined()) out[name] = array_of(tensor.grad());
  return out;
}

/// The loss without LibTorch.
template <vlp::Loss L>
struct Bare {
  explicit Bare(const Arrays& arrays, const typename L::Options& options = {}, double upstream = 1) {
    LossCase<L> given(arrays);
    value = given.run(options, 1, upstream);
    gradients = given.gradient_values();
  }
  typename L::Accumulator value;
  Arrays gradients;
};

template <class Action>
std::string refusal_by(Action&& action) {
  return message_of<std::invalid_argument>([&] { (void)action(); });
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("LibTorch gets the bits of every loss and of its gradients", "", Losses) {
  using L = TestType;
  Random random(31);
  const Arrays arrays = inputs_of<L>(random, sizes);
  const Bare<L> want(arrays, {}, 0.7);
  const NamedTensors in = tensors_of<L>(arrays);
  const TorchLoss<L> loss;
  const torch::Tensor value = loss(in);
  CHECK(value.dim() == 0);
  CHECK(value.item<double>() == want.value);
  (value * 0.7).backward();
  CHECK(same_bits(gradients_of(in), want.gradients));
}

TEMPLATE_LIST_TEST_CASE("every loss agrees with what LibTorch's own functions say", "", Losses) {
  using L = TestType;
  Random random(32);
  const Arrays arrays = inputs_of<L>(random, sizes);
  const NamedTensors got = tensors_of<L>(arrays), want = tensors_of<L>(arrays);
  const torch::Tensor value = TorchLoss<L>(plain::options_to_compare<L>())(got);
  const torch::Tensor plain = plain::loss_of<L>(want);
  CHECK(relative_error(array_of(value), array_of(plain)) <= 1e-10);
  value.backward();
  plain.backward();
  CHECK(relative_error(gradients_of(got), gradients_of(want), 1e-3) <= 1e-10);
}

TEMPLATE_LIST_TEST_CASE("LibTorch may go forward twice through a loss before it goes back", "", Losses) {
  using L = TestType;
  Random random(33);
  const std::array<Arrays, 2> arrays{inputs_of<L>(random, sizes), inputs_of<L>(random, others)};
  const std::array want{Bare<L>(arrays[0]), Bare<L>(arrays[1])};
  const TorchLoss<L> loss;
  for (const std::array<std::size_t, 2> order : {std::array<std::size_t, 2>{0, 1}, {1, 0}}) {
    const std::array in{tensors_of<L>(arrays[0]), tensors_of<L>(arrays[1])};
    const std::array values{loss(in[0]), loss(in[1])};
    for (const std::size_t i : order) {
      values[i].backward();
      CHECK(values[i].template item<double>() == want[i].value);
      CHECK(same_bits(gradients_of(in[i]), want[i].gradients));
    }
  }
}

TEMPLATE_LIST_TEST_CASE("every loss takes tensors that are not contiguous", "", Losses) {
  using L = TestType;
  Random random(34);
  const Arrays arrays = inputs_of<L>(random, sizes);
  const Bare<L> want(arrays);
  const auto check = [&](auto&& lay_out) {
    const NamedTensors leaves = tensors_of<L>(arrays);
    NamedTensors in;
    for (const auto& [name, leaf] : leaves) in[name] = leaf.dim() == 0 ? leaf : lay_out(leaf);
    const torch::Tensor value = TorchLoss<L>()(in);
    CHECK(value.item<double>() == want.value);
    value.backward();
    CHECK(same_bits(gradients_of(leaves), want.gradients));
  };
  check([](const torch::Tensor& x) { return torch::stack({x, x}, -1).select(-1, 0); });  // every other one
  check([](const torch::Tensor& x) {
    return torch::cat({x, x}, -1).slice(-1, 0, x.size(-1));
  });  // rows apart
  check([](const torch::Tensor& x) { return torch::stack({x, x}, 1).select(1, 1); });
}

TEMPLATE_LIST_TEST_CASE("every loss computes the gradients that are required, and no others", "", Losses) {
  using L = TestType;
  Random random(35);
  const Arrays arrays = inputs_of<L>(random, sizes);
  const Bare<L> want(arrays);
  for (const auto& [required, gradient] : want.gradients) {
    NamedTensors in = tensors_of<L>(arrays);
    for (auto& [name, tensor] : in)
      if (tensor.is_floating_point()) tensor.requires_grad_(name == required);
    TorchLoss<L>()(in).backward();
    const Arrays got = gradients_of(in);
    REQUIRE(got.size() == 1);
    CHECK(relative_error(got.at(required), gradient) <= 1e-12);
  }
}

TEMPLATE_LIST_TEST_CASE("every loss without gradients is a plain number", "", Losses) {
  using L = TestType;
  Random random(36);
  const Arrays arrays = inputs_of<L>(random, sizes);
  const Bare<L> want(arrays);
  const NamedTensors in = tensors_of<L>(arrays);
  {
    const torch::NoGradGuard none;
    const torch::Tensor value = TorchLoss<L>()(in);
    CHECK(!value.requires_grad());
    CHECK(value.item<double>() == want.value);
  }
  {
    const c10::InferenceMode inference;
    CHECK(TorchLoss<L>()(in).template item<double>() == want.value);
  }
  NamedTensors detached;
  for (const auto& [name, tensor] : in) detached[name] = tensor.detach();
  CHECK(!TorchLoss<L>()(detached).requires_grad());
}

TEMPLATE_LIST_TEST_CASE("no loss is differentiated twice", "", Losses) {
  using L = TestType;
  Random random(37);
  const Arrays arrays = inputs_of<L>(random, sizes);
  const Bare<L> want(arrays);
  const NamedTensors in = tensors_of<L>(arrays);
  TorchLoss<L>()(in).backward({}, true, true);  // and a graph of the gradients
  CHECK(same_bits(gradients_of(in), want.gradients));
  for (const auto& [name, gradient] : want.gradients)
    CHECK_THAT(
        refusal_by([&] { return in.at(name).grad().sum().backward(), 0; }),
        ContainsSubstring(std::string(L::name) + ": gradients of the loss cannot be differentiated again"));
}

TEST_CASE("LibTorch refuses an input that was changed before the backward, and a second backward") {
  Random random(38);
  NamedTensors in = tensors_of<InfoNce>(inputs_of<InfoNce>(random, sizes));
  in["text"] = in.at("text") * 1;  // no leaf, so that it may be changed
  const torch::Tensor value = TorchLoss<InfoNce>()(in);
  in.at("text").mul_(2);
  CHECK_THROWS_AS(value.backward(), c10::Error);
  const torch::Tensor again = TorchLoss<InfoNce>()(in);
  again.backward();
  CHECK_THROWS_AS(again.backward(), c10::Error);
}

TEST_CASE("LibTorch's inputs of 16 bits are widened, and their gradients rounded") {
  Random random(39);
  const Arrays arrays = inputs_of<InfoNce>(random, sizes);
  for (const auto type : {torch::kHalf, torch::kBFloat16}) {
    NamedTensors in = tensors_of<InfoNce>(arrays), wide;
    for (auto& [name, tensor] : in) {
      if (tensor.is_floating_point()) tensor = tensor.detach().to(type).requires_grad_();
      wide[name] = tensor.is_floating_point() ? tensor.detach().to(torch::kFloat).requires_grad_() : tensor;
    }
    const torch::Tensor value = TorchLoss<InfoNce>()(in), want = TorchLoss<InfoNce>()(wide);
    CHECK(value.scalar_type() == torch::kFloat);
    CHECK(value.item<float>() == want.item<float>());
    value.backward();
    want.backward();
    for (const char* name : {"image", "text", "log_scale"}) {
      CHECK(in.at(name).grad().scalar_type() == type);
      CHECK(torch::equal(in.at(name).grad(), wide.at(name).grad().to(type)));
    }
  }
}

TEST_CASE("LibTorch's inputs may be expanded, negated and given in order") {
  Random random(40);
  Arrays arrays = inputs_of<InfoNce>(random, sizes);
  for (Index row = 1; row < sizes.batch; ++row)  // all images are the first
    std::copy_n(arrays.at("image").values.begin(), sizes.features,
                arrays.at("image").values.begin() + row * sizes.features);
  const Bare<InfoNce> want(arrays);
  const NamedTensors in = tensors_of<InfoNce>(arrays);
  const auto image = in.at("image").detach().slice(0, 0, 1).clone().requires_grad_();
  const auto text = torch::_neg_view(in.at("text").detach().neg()).requires_grad_();
  REQUIRE(text.is_neg());
  const torch::Tensor value = TorchLoss<InfoNce>()(image.expand({sizes.batch, -1}), text, in.at("log_scale"),
                                                   torch::Tensor(), torch::Tensor());
  CHECK(value.item<float>() == want.value);
  value.backward();
  CHECK(torch::allclose(image.grad(), torch::tensor(want.gradients.at("image").values)
                                          .reshape({sizes.batch, sizes.features})
                                          .sum(0, true)
                                          .to(torch::kFloat)));
  CHECK(same_bits({{"text", array_of(text.grad())}}, {{"text", want.gradients.at("text")}}));
}

TEST_CASE("rows that must lie evenly are made to, in LibTorch") {
  using MultiScale = vlp::MultiScale<double>;
  Random random(45);
  const Arrays arrays = inputs_of<MultiScale>(random, sizes);
  const auto options = vlp::MultiScaleOptions::neg_clip();
  const Bare<MultiScale> want(arrays, options);
  NamedTensors in = tensors_of<MultiScale>(arrays);
  const torch::Tensor text = in.at("text");
  for (const char* name : {"text", "valid"})
    in[name] = torch::cat({in.at(name), in.at(name)}, 1).slice(1, 0, in.at(name).size(1));
  const torch::Tensor value = TorchLoss<MultiScale>(options)(in);
  CHECK(value.item<double>() == want.value);
  value.backward();
  CHECK(same_bits({{"text", array_of(text.grad())}}, {{"text", want.gradients.at("text")}}));
}

TEST_CASE("a loss fills LibTorch's tensors with its outputs") {
  Random random(41);
  const Arrays arrays = inputs_of<LocalAlignment>(random, sizes);
  const NamedTensors in = tensors_of<LocalAlignment>(arrays);
  const auto attention = torch::full({sizes.batch, sizes.words, sizes.regions}, -1, torch::kDouble);
  const auto similarity = torch::full({sizes.batch, sizes.batch + 2}, -1, torch::kDouble);
  const auto rows = similarity.slice(1, 1, sizes.batch + 1);
  const auto version = attention._version();
  TorchLoss<LocalAlignment>()(in, {}, {{"attention", attention}, {"similarity", rows}}).backward();
  CHECK(attention._version() > version);

  LossCase<LocalAlignment> bare(arrays);
  const auto want_attention = torch::empty_like(attention);
  const auto want_rows = torch::empty({sizes.batch, sizes.batch}, torch::kDouble);
  vlp::Cpu device(1);
  LocalAlignment().forward(
      device, bare.inputs,
      {.similarity = vlp::view<double, 2>(want_rows), .attention = vlp::view<double, 3>(want_attention)});
  CHECK(torch::equal(attention, want_attention));
  CHECK(torch::equal(rows, want_rows));
  CHECK(similarity.select(1, 0).eq(-1).all().item<bool>());
  CHECK(similarity.select(1, sizes.batch + 1).eq(-1).all().item<bool>());

  const auto refusal_of_output = [&](const NamedTensors& outputs) {
    return refusal_by([&] { return TorchLoss<LocalAlignment>()(in, {}, outputs); });
  };
  CHECK(refusal_of_output({{"attention", torch::empty({5, 4}, torch::kDouble)}}) ==
        "local_alignment: attention has 2 dimensions, not 3");
  CHECK(refusal_of_output({{"attention", torch::empty({5, 4, 5}, torch::kDouble)}}) ==
        "local_alignment: attention is 5 x 4 x 5, not 5 x 4 x 6");
  CHECK(refusal_of_output({{"attention", torch::empty({5, 4, 6}, torch::kFloat)}}) ==
        "local_alignment: attention has elements of type Float, not Double");
  CHECK(refusal_of_output({{"attention", torch::empty({5, 4, 6}, torch::kDouble).requires_grad_()}}) ==
        "local_alignment: attention is an output, so it must not require a gradient");
  CHECK(refusal_of_output({{"attention", torch::empty({5, 6, 4}, torch::kDouble).transpose(1, 2)}}) ==
        "local_alignment: elements of the last dimension of attention must be adjacent, but their stride is "
        "4");
  CHECK(refusal_of_output({{"loss", torch::empty({}, torch::kDouble)}}) ==
        "local_alignment: has no output loss");
}

TEST_CASE("a loss takes from LibTorch the numbers that the host knows") {
  Random random(42);
  const Rectangle shape{.images = 4, .texts = 12, .features = 5, .own_text = 1, .own_text_step = 3};
  const Arrays arrays = random_rectangle(random, shape);
  const Bare<InfoNce> want(arrays);
  const NamedTensors in = tensors_of<InfoNce>(arrays);
  const torch::Tensor value = TorchLoss<InfoNce>()(in, {{"own_text", 1}, {"own_text_step", 3}});
  CHECK(value.item<float>() == want.value);
  value.backward();
  CHECK(same_bits(gradients_of(in), want.gradients));
  CHECK(refusal_by([&] {
          return TorchLoss<InfoNce>()(in, {{"word_capacity", 1}});
        }) == "info_nce: has no number word_capacity");
}

TEST_CASE("a loss refuses LibTorch's tensors in one sentence") {
  Random random(43);
  const NamedTensors in = tensors_of<InfoNce>(inputs_of<InfoNce>(random, sizes));
  const auto with = [&](const std::string& name, const torch::Tensor& tensor) {
    NamedTensors given = in;
    given[name] = tensor;
    return refusal_by([&] { return TorchLoss<InfoNce>()(given); });
  };
  const auto image = in.at("image").detach();
  CHECK(with("image", image.to(torch::kDouble)) == "info_nce: image has elements of type Double, not Float");
  CHECK(with("image", image.to(torch::kLong)) == "info_nce: image has elements of type Long, not Float");
  CHECK(with("image", image[0]) == "info_nce: image has 1 dimensions, not 2");
  CHECK(with("image", image.to(torch::kMeta)) == "info_nce: image is on meta, not on cpu");
  CHECK(with("image", image.to_sparse()) == "info_nce: image must be a dense tensor");
  CHECK(with("image", torch::_nested_tensor_from_tensor_list({image[0], image[1]})) ==
        "info_nce: image must be a dense tensor");
  CHECK(with("image", torch::quantize_per_tensor(image, 0.1, 0, torch::kQInt8)) ==
        "info_nce: image has elements of type QInt8, not Float");
  CHECK(with("image", image.slice(0, 0, 0)) ==
        "info_nce: image is 0 x 7, but every extent must be at least 1");
  CHECK(with("log_scale", torch::ones({1})) == "info_nce: log_scale has 1 dimensions, not 0");
  CHECK(with("log_scale", torch::Tensor()) == "info_nce: log_scale is not given");
  CHECK(with("group", torch::zeros({5}, torch::kInt)) ==
        "info_nce: group has elements of type Int, not Long");
  CHECK(with("valid", torch::zeros({5}, torch::kFloat)) ==
        "info_nce: valid has elements of type Float, not Byte or Bool");
  CHECK(with("words", image) == "info_nce: has no input words");
  CHECK(refusal_by([&] { return TorchLoss<InfoNce>()(NamedTensors()); }) == "info_nce: no input is given");
  CHECK(refusal_by([&] { return TorchLoss<InfoNce>()(image, image, image, image, image, image); }) ==
        "info_nce: takes 5 inputs, but 6 are given");
  CHECK_THAT(refusal_by([] { return TorchLoss<InfoNce>({.label_smoothing = 2}), 0; }),
             ContainsSubstring("info_nce: label_smoothing must be in [0, 1)"));
  for (const auto type : {torch::kBool, torch::kByte})
    CHECK(with("valid", torch::ones({5}, type)) == "no error");
}

TEMPLATE_LIST_TEST_CASE("LibTorch's threads may share every loss", "", Losses) {
  using L = TestType;
  Random random(44);
  const std::array<Arrays, 2> arrays{inputs_of<L>(random, sizes), inputs_of<L>(random, others)};
  const std::array want{Bare<L>(arrays[0]), Bare<L>(arrays[1])};
  const TorchLoss<L> loss;
  std::array<int, 2> right{};
  const auto work = [&](std::size_t i) {
    for (int n = 0; n < 20; ++n) {
      const NamedTensors in = tensors_of<L>(arrays[i]);
      const torch::Tensor value = loss(in);
      std::thread([&] { value.backward(); }).join();
      right[i] +=
          value.template item<double>() == want[i].value && same_bits(gradients_of(in), want[i].gradients)
              ? 1
              : 0;
    }
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  CHECK(right == std::array{20, 20});
}

TEST_CASE("views of LibTorch's tensors are the tensors themselves") {
  const auto tensor = torch::arange(24, torch::kFloat).reshape({4, 6});
  const auto all = vlp::view<float, 2>(tensor);
  CHECK((all.rows() == 4 && all.cols() == 6 && all.contiguous()));
  all(1, 2) = 100;
  CHECK(tensor[1][2].item<float>() == 100);

  const auto part = vlp::view<const float, 2>(tensor.slice(0, 1, 4, 2).slice(1, 2, 5));
  CHECK((part.rows() == 2 && part.cols() == 3 && part.stride(0) == 12));
  CHECK((part(0, 0) == 100 && part(1, 2) == 22));
  CHECK(vlp::view<const float, 2>(tensor[0].expand({3, 6})).stride(0) == 0);
  const auto column =
      vlp::view<const float, 2>(tensor.t().slice(1, 2, 3));  // its stride along one element means nothing
  CHECK((column.stride(1) == 1 && column(5, 0) == 17));
  CHECK(vlp::view<const std::uint8_t, 1>(torch::ones({3}, torch::kBool))(2) == 1);
  CHECK(vlp::view<const std::int64_t, 1>(torch::arange(3))(2) == 2);
  CHECK(!vlp::view<const float, 2>(torch::empty({0, 5})).given());

  const auto refusal = [](const torch::Tensor& given) {
    return refusal_by([&] { return vlp::view<float, 2>(given).rows(); });
  };
  CHECK(refusal(torch::Tensor()) == "view: the tensor is not defined");
  CHECK(refusal(tensor.to(torch::kDouble)) == "view: the tensor has elements of type Double, not Float");
  CHECK(refusal(tensor[0]) == "view: the tensor has 1 dimensions, not 2");
  CHECK(refusal(tensor.to(torch::kMeta)) == "view: the tensor is on meta, not on cpu");
  CHECK(refusal(tensor.to_sparse()) == "view: the tensor must be a dense tensor");
  CHECK(refusal(tensor.t()) ==
        "view: elements of the last dimension of the tensor must be adjacent, but their stride is 6");
  CHECK(refusal(torch::_neg_view(tensor)) ==
        "view: the tensor is negated when it is read; call resolve_neg() first");
}
