// The decoder's block: its definition in plain loops, gradients, branches, and tokens written one at a time.
#include "support/catch.hpp"
#include "support/layer_gradient.hpp"
#include "support/literal_attention.hpp"
#include "support/messages.hpp"

#include <vlp/nn/decoder_block.hpp>

#include <cmath>
#include <cstddef>
#include <map>
#include <numbers>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace vlp;
using namespace vlp::test;
using Values = std::vector<double>;
using Offsets = std::vector<Index>;

namespace {

constexpr Index width = 8, context_width = 6, heads = 2, hidden = 10;
const Offsets of_x{0, 3, 4, 4, 8}, of_context{0, 2, 3, 5, 9};
constexpr Index x_rows = 8, context_rows = 9, longest_context = 4;

nn::DecoderBlockOptions options_of(std::vector<std::string> branches) {
  return {.width = width,
          .heads = heads,
          .hidden = hidden,
          .context_width = context_width,
          .branches = std::move(branches)};
}

/// A block of two branches whose weights are moved off their starting values, a batch, and its results.
template <class Scalar, class Device>
struct Setting {
  nn::DecoderBlock<Scalar, Device> block;
  Parameters<Scalar, Device> parameters;
  nn::Sequences<Device> sequences, contexts;
  ArrayOn<Scalar, Device> x, context;

  explicit Setting(Device& device, Random random = Random(4))
      : block(options_of({"summary", "caption"}), random),
        parameters(device, block),
        x(device, normal_values<Scalar>(x_rows * width, 1)),
        context(device, normal_values<Scalar>(context_rows * context_width, 2)) {
    sequences.assign(device, of_x);
    contexts.assign(device, of_context);
    Random noise(5);
    for (const auto& [name, parameter] : parameters.list()) {
      std::vector<Scalar> value = download_value(device, *parameter);
      for (Scalar& v : value) v += static_cast<Scalar>(0.1f * noise.normal());
      upload_value(device, *parameter, value);
    }
  }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

  [[nodiscard]] typename nn::DecoderBlock<Scalar, Device>::Inputs inputs(Index branch) const {
    return {.x = x.view(x_rows, width),
            .sequences = sequences,
            .context = context.view(context_rows, context_width),
            .contexts = contexts,
            .branch = branch};
  }
  std::vector<Scalar> forward(Device& device, Index branch) {
    const ArrayOn<Scalar, Device> y(device, x_rows * width);
    block.forward(device, inputs(branch), y.view(x_rows, width));
    return y.host();
  }
};

/// The block in plain loops, from its parameters by their names.
class LiteralBlock {
 public:
  LiteralBlock(const std::map<std::string, Values>& parameters, std::string branch)
      : parameters_(parameters), cross_("cross_attention." + std::move(branch)) {}

  LiteralAttention operator()(const Values& x, const Values& context) const {
    const Values packed = linear("self_attention.query_key_value", norm("norm1", x));
    const LiteralAttention self = literal_attention(columns(packed, 3, 0), columns(packed, 3, 1),
                                                    columns(packed, 3, 2), of_x, of_x, width, heads, true);
    const Values h = sum(x, linear("self_attention.output", self.out));
    const Values keys_values = linear(cross_ + ".key_value", context);
    LiteralAttention cross =
        literal_attention(linear(cross_ + ".query", norm("norm2", h)), columns(keys_values, 2, 0),
                          columns(keys_values, 2, 1), of_x, of_context, width, heads, false);
    const Values g = sum(h, linear(cross_ + ".output", cross.out));
    Values active = linear("feed_forward.first", norm("norm3", g));
    for (double& v : active)
      v = 0.5 * v * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v)));
    return {sum(g, linear("feed_forward.second", active)), cross.weights};
  }

 private:
  [[nodiscard]] const Values& value(const std::string& name) const { return parameters_.at(name); }

  [[nodiscard]] Values linear(const std::string& name, const Values& x) const {
    const Values &w = value(name + ".weight"), &b = value(name + ".bias");
    const std::size_t inputs = w.size() / b.size();
    Values y;
    for (std::size_t t = 0; t < x.size() / inputs; ++t)
      for (std::size_t o = 0; o < b.size(); ++o) {
        y.push_back(b[o]);
        for (std::size_t i = 0; i < inputs; ++i) y.back() += w[o * inputs + i] * x[t * inputs + i];
      }
    return y;
  }
  [[nodiscard]] Values norm(const std::string& name, const Values& x) const {
    const Values &gain = value(name + ".weight"), &bias = value(name + ".bias");
    const std::size_t n = gain.size();
    Values y;
    for (std::size_t t = 0; t < x.size() / n; ++t) {
      double mean = 0, variance = 0;
      for (std::size_t i = 0; i < n; ++i) mean += x[t * n + i] / static_cast<double>(n);
      for (std::size_t i = 0; i < n; ++i)
        variance += (x[t * n + i] - mean) * (x[t * n + i] - mean) / static_cast<double>(n);
      for (std::size_t i = 0; i < n; ++i)
        y.push_back((x[t * n + i] - mean) / std::sqrt(variance + 1e-5) * gain[i] + bias[i]);
    }
    return y;
  }
  /// Part `part` of `parts` of the columns.
  static Values columns(const Values& x, std::size_t parts, std::size_t part) {
    const auto n = static_cast<std::size_t>(width);
    Values y;
    for (std::size_t t = 0; t < x.size() / (parts * n); ++t)
      for (std::size_t i = 0; i < n; ++i) y.push_back(x[(t * parts + part) * n + i]);
    return y;
  }
  static Values sum(const Values& a, const Values& b) {
    Values y;
    for (std::size_t i = 0; i < a.size(); ++i) y.push_back(a[i] + b.at(i));
    return y;
  }

  const std::map<std::string, Values>& parameters_;
  std::string cross_;
};

}  // namespace

TEST_CASE("a decoder block agrees with its definition in plain loops") {
  for (const Index branch : {0, 1}) {
    const Values results = on_every_device([&](auto& device) {
      using Device = DeviceOf<decltype(device)>;
      Setting<double, Device> setting(device);
      const ArrayOn<double, Device> y(device, x_rows * width), weights(device, x_rows * longest_context);
      setting.block.forward(device, setting.inputs(branch), y.view(x_rows, width),
                            weights.view(x_rows, longest_context));
      std::map<std::string, Values> parameters;
      for (const auto& [name, parameter] : setting.parameters.list())
        parameters[name] = download_value(device, *parameter);
      const LiteralAttention literal = LiteralBlock(parameters, branch == 0 ? "summary" : "caption")(
          setting.x.host(), setting.context.host());
      CHECK(largest_difference(y.host(), literal.out) < 1e-13);
      CHECK(largest_difference(weights.host(), literal.weights) < 1e-14);
      CHECK(same_bits(y.host(), setting.forward(device, branch)));  // without weights
      return y.host();
    });
    Cpu device(1);
    Setting<float, Cpu> single(device);
    CHECK(largest_difference(single.forward(device, branch), results) < 1e-4);
  }
}

TEST_CASE("gradients of a decoder block agree with central differences") {
  const Index branch = GENERATE(0, 1);
  const bool other_sizes = GENERATE(false, true);  // those that options leave to the block, and another GELU
  on_every_device([&](auto& device) {
    using Device = DeviceOf<decltype(device)>;
    Random random(8);
    nn::DecoderBlockOptions options = options_of({"summary", "caption"});
    if (other_sizes) {
      options.hidden = options.context_width = 0;
      options.gelu = nn::GeluForm::erf;
    }
    const Index columns = other_sizes ? width : context_width;
    nn::DecoderBlock<double, Device> block(options, random);
    nn::Sequences<Device> sequences, contexts;
    sequences.assign(device, of_x);
    contexts.assign(device, of_context);
    LayerGradient gradient(device);
    const auto& x = gradient.input("x", normal_values(x_rows * width, 1));
    const auto& context = gradient.input("context", normal_values(context_rows * columns, 2));
    const auto& y = gradient.output(x_rows * width);
    gradient.parameters(block);
    const typename nn::DecoderBlock<double, Device>::Inputs in{
        x.value.view(x_rows, width), sequences, context.value.view(context_rows, columns), contexts, branch};
    return gradient.check([&] { block.forward(device, in, y.value.view(x_rows, width)); },
                          [&] {
                            const auto d_context = context.gradient.view(context_rows, columns);
                            fill(device, d_context.data(), d_context.size(), 0.0);
                            block.backward(device, in, y.gradient.view(x_rows, width),
                                           x.gradient.view(x_rows, width), d_context);
                          },
                          12);
  });
}

TEST_CASE("a decoder block adds to the gradient by the context, which is optional, and works in place") {
  Cpu device(2);
  Setting<double, Cpu> setting(device);
  const Values d_y = normal_values(x_rows * width, 3);
  const auto on_x = [](auto& values) { return as_view(values, x_rows, width); };
  const auto in = setting.inputs(1);
  Values d_x(d_y.size()), without(d_y.size()),
      in_place = d_y, d_context(static_cast<std::size_t>(context_rows * context_width));
  setting.forward(device, 1);
  setting.block.backward(device, in, on_x(d_y), on_x(d_x), as_view(d_context, context_rows, context_width));
  setting.block.backward(device, in, on_x(d_y), on_x(without));
  setting.block.backward(device, in, on_x(in_place), on_x(in_place));
  CHECK(same_bits(d_x, without));
  CHECK(same_bits(d_x, in_place));
  CHECK(largest_difference(d_context, Values(d_context.size(), 0.0)) > 0.1);
  Values added(d_context.size(), 10.0);
  setting.block.backward(device, in, on_x(d_y), on_x(d_x), as_view(added, context_rows, context_width));
  for (double& v : added) v -= 10;
  CHECK(largest_difference(added, d_context) < 1e-13);
}

TEST_CASE("a second branch brings its cross-attention and nothing else") {
  Cpu device(1);
  Random random(4), same(4);
  nn::DecoderBlock<double> one(options_of({"summary"}), random),
      two(options_of({"summary", "caption"}), same);
  CHECK(one.branches() == 1);
  CHECK(two.branches() == 2);
  const Parameters<double> of_one(device, one, "block"), of_two(device, two, "block");
  const auto names = [](const Parameters<double>& parameters) {
    std::vector<std::string> out;
    for (const auto& named : parameters.list()) out.push_back(named.name);
    return out;
  };
  const std::vector<std::string> shared{"block.self_attention.query_key_value.weight",
                                        "block.self_attention.query_key_value.bias",
                                        "block.self_attention.output.weight",
                                        "block.self_attention.output.bias",
                                        "block.norm1.weight",
                                        "block.norm1.bias",
                                        "block.norm2.weight",
                                        "block.norm2.bias",
                                        "block.feed_forward.first.weight",
                                        "block.feed_forward.first.bias",
                                        "block.feed_forward.second.weight",
                                        "block.feed_forward.second.bias",
                                        "block.norm3.weight",
                                        "block.norm3.bias"};
  std::vector<std::string> expected = shared;
  for (const std::string_view branch : {"summary", "caption"}) {
    for (const std::string_view layer : {"query", "key_value", "output"})
      for (const std::string_view kind : {"weight", "bias"})
        expected.push_back(concat("block.cross_attention.", branch, '.', layer, '.', kind));
    CHECK(names(branch == "summary" ? of_one : of_two) == expected);
  }
  // Query, keys and values, output, with their biases.
  CHECK(of_two.size() - of_one.size() ==
        width * width + width + 2 * width * context_width + 2 * width + width * width + width);
  // A branch more does not change what the others start from.
  for (std::size_t i = 0; i < of_one.list().size(); ++i)
    CHECK(download_value(device, *of_one.list()[i].parameter) ==
          download_value(device, *of_two.list()[i].parameter));
}

TEST_CASE("branches share what is not their cross-attention, and leave that of the other alone") {
  Cpu device(1);
  Setting<double, Cpu> setting(device);
  const Values first = setting.forward(device, 0), second = setting.forward(device, 1);
  CHECK(largest_difference(first, second) > 0.01);
  // With the same cross-attention they are the same.
  std::map<std::string, Parameter<double>*> by_name;
  for (const auto& [name, parameter] : setting.parameters.list()) by_name[name] = parameter;
  for (const auto& [name, parameter] : by_name) {
    const std::string from = "cross_attention.summary", to = "cross_attention.caption";
    if (name.starts_with(from))
      upload_value(device, *by_name.at(to + name.substr(from.size())), download_value(device, *parameter));
  }
  CHECK(same_bits(setting.forward(device, 1), first));

  // Gradients of one branch reach all that is shared, and nothing of the other branch.
  const Values d_y = normal_values(x_rows * width, 3);
  Values d_x(d_y.size());
  setting.parameters.zero_gradients(device);
  setting.block.backward(device, setting.inputs(1), as_view(d_y, x_rows, width), as_view(d_x, x_rows, width));
  for (const auto& [name, parameter] : by_name) {
    INFO(name);
    const Values gradient = download_gradient(device, *parameter);
    CHECK((largest_difference(gradient, Values(gradient.size(), 0.0)) == 0) ==
          name.starts_with("cross_attention.summary"));
  }
}

TEST_CASE("steps of a decoder block are the rows of its forward pass") {
  // The sequences of the batch that have a third token are 0 and 3, and so on: shorter ones end.
  const Index branch = GENERATE(0, 1);
  on_every_device([&](auto& device) {
    using Device = DeviceOf<decltype(device)>;
    Setting<double, Device> setting(device);
    const Values whole = setting.forward(device, branch);
    const Values x = setting.x.host();
    typename nn::DecoderBlock<double, Device>::Cache cache(width);
    setting.block.begin(device, setting.inputs(branch).context, branch, cache);
    const auto row_of = [&](const Values& values, Index row) {
      const auto begin = values.begin() + static_cast<std::ptrdiff_t>(row * width);
      return Values(begin, begin + static_cast<std::ptrdiff_t>(width));
    };
    std::map<Index, Offsets> cached;  // rows of each sequence
    Index written = 0;
    Values all;
    for (Index t = 0; t < 4; ++t) {
      Values values, expected;
      Offsets rows, offsets{0};
      Index count = 0;
      for (Index s = 0; s < 4; ++s) {
        const Index at = of_x[static_cast<std::size_t>(s)] + t;
        if (at < of_x[static_cast<std::size_t>(s) + 1]) {
          cached[s].push_back(written + count++);
          rows.insert(rows.end(), cached[s].begin(), cached[s].end());
          for (const double v : row_of(x, at)) values.push_back(v);
          for (const double v : row_of(whole, at)) expected.push_back(v);
        }
        offsets.push_back(count);
      }
      nn::Sequences<Device> sequences;
      sequences.assign(device, offsets);
      const ArrayOn<double, Device> in(device, values), y(device, count * width);
      const ArrayOn<Index, Device> list(device, rows);
      setting.block.step(
          device, {in.view(count, width), list.view(count, t + 1), written, sequences, setting.contexts},
          cache, y.view(count, width));
      CHECK(largest_difference(y.host(), expected) < 1e-13);
      // In place, over the rows that it has just written.
      setting.block.step(
          device, {in.view(count, width), list.view(count, t + 1), written, sequences, setting.contexts},
          cache, in.view(count, width));
      CHECK(same_bits(in.host(), y.host()));
      written += count;
      CHECK(cache.tokens.rows() == written);
      for (const double v : y.host()) all.push_back(v);
    }
    return all;
  });
}

TEST_CASE("a decoder block names what does not fit") {
  Cpu device(1);
  Random random(1);
  const auto made = [&](std::vector<std::string> branches) {
    return message_of<std::invalid_argument>(
        [&] { nn::DecoderBlock<double>(options_of(std::move(branches)), random); });
  };
  CHECK(made({"a", "b"}) == "no error");
  CHECK(made({}) == "DecoderBlock: there must be at least one branch");
  CHECK(made({"a", ""}) == "DecoderBlock: branch 1 has no name");
  CHECK(made({"a", "b", "a"}) == "DecoderBlock: there are two branches 'a'");

  Setting<double, Cpu> setting(device);
  auto& block = setting.block;
  Values y(x_rows * width), d_x(x_rows * width), d_context(context_rows * context_width);
  const auto error = [&](const nn::DecoderBlock<double>::Inputs& in, MatrixView<double> out,
                         MatrixView<double> attention = {}) {
    return message_of<std::invalid_argument>([&] { block.forward(device, in, out, attention); });
  };
  const auto good = as_view(y, x_rows, width);
  const auto with = [&](MatrixView<const double> x, MatrixView<const double> context, Index branch) {
    return nn::DecoderBlock<double>::Inputs{x, setting.sequences, context, setting.contexts, branch};
  };
  const MatrixView<const double> x = setting.x.view(x_rows, width),
                                 context = setting.context.view(context_rows, context_width);
  CHECK(error(with(as_view(y, 8, 7), context, 0), good) == "DecoderBlock: x has 7 columns but must have 8");
  CHECK(error(with(x, context, 0), as_view(y, 7, 8)) == "DecoderBlock: y is 7 x 8 but must be 8 x 8");
  CHECK(error(with(x, context, 2), good) == "DecoderBlock: there is no branch 2, there are 2");
  CHECK(error(with(x, context, -1), good) == "DecoderBlock: there is no branch -1, there are 2");
  CHECK(error(with(x, as_view(y, 9, 7), 0), good) ==
        "CrossAttention: the context has 7 columns but must have 6");
  CHECK(error(with(x, as_view(y, 8, 6), 0), good) ==
        "CrossAttention: the context has 8 rows but the sequences have 9 tokens");
  CHECK(error(with(x, context, 0), good, as_view(d_x, 8, 3)) ==
        "CrossAttention: attention is 8 x 3 but must be 8 x 4");
  CHECK(error(with(x, context, 0), good, as_view(d_x, 8, 4)) == "no error");

  const auto backward_error = [&](Index branch, MatrixView<const double> d_y, MatrixView<double> to) {
    return message_of<std::invalid_argument>(
        [&] { block.backward(device, setting.inputs(branch), d_y, to); });
  };
  CHECK(backward_error(0, good, as_view(d_x, 8, 8)) == "no error");
  CHECK(backward_error(1, good, as_view(d_x, 8, 8)) ==
        "DecoderBlock: backward of branch 1 does not follow its forward");
  CHECK(backward_error(0, as_view(y, 8, 7), as_view(d_x, 8, 8)) ==
        "DecoderBlock: d_y is 8 x 7 but must be 8 x 8");
  CHECK(backward_error(0, good, {}) == "DecoderBlock: d_x is 0 x 0 but must be 8 x 8");

  // A step takes the place of the forward pass.
  nn::DecoderBlock<double>::Cache cache(width);
  CHECK(message_of<std::invalid_argument>([&] { block.begin(device, context, 5, cache); }) ==
        "DecoderBlock: there is no branch 5, there are 2");
  block.begin(device, context, 0, cache);
  const Offsets rows{0, 1, 2, 3, 4, 5, 6, 7};
  const auto step_error = [&](MatrixView<const double> in, MatrixView<double> out) {
    return message_of<std::invalid_argument>([&] {
      block.step(device, {in, as_view(rows, 8, 1), 0, setting.sequences, setting.contexts}, cache, out);
    });
  };
  CHECK(step_error(as_view(y, 8, 7), good) == "DecoderBlock: x has 7 columns but must have 8");
  CHECK(step_error(x, as_view(y, 8, 7)) == "DecoderBlock: y is 8 x 7 but must be 8 x 8");
  CHECK(step_error(x, good) == "no error");
  CHECK(backward_error(0, good, as_view(d_x, 8, 8)) ==
        "DecoderBlock: backward of branch 0 does not follow its forward");
  CHECK(message_of<std::invalid_argument>([&] {
          block.backward(device, with(as_view(y, 7, 8), context, 0), good, as_view(d_x, 8, 8));
        }) == "DecoderBlock: x of backward has 7 rows but that of forward had 8");
}
