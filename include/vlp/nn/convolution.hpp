/// \file
/// Two-dimensional convolution.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/op.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/initialise.hpp>
#include <vlp/nn/ops/operations.hpp>
#include <vlp/nn/types.hpp>

#include <algorithm>
#include <string_view>

namespace vlp::nn {

/// Convolution of channels-last images, [B, H, W, inputs] to [B, Ho, Wo, outputs] with Ho = (H + 2 padding -
/// size) / stride + 1: y[b, oy, ox] = b + sum over ky, kx of W[:, ky, kx, :] x[b, oy stride - padding + ky,
/// ...], pixels outside counting as zeros. W is [outputs, size, size, inputs]. Images are contiguous. Keeps
/// nothing: the patch matrix is made again for backward, a few images at a time so that it stays small.
template <class Scalar, class Device = Cpu>
class Convolution {
 public:
  using Image = ImageView<Scalar>;
  using ConstImage = ImageView<const Scalar>;

  Convolution(Index inputs, Index outputs, const Window& window, Random& random) : window_(window) {
    detail::check_positive("Convolution", "inputs", inputs);
    detail::check_positive("Convolution", "outputs", outputs);
    detail::check_positive("Convolution", "window size", window.size);
    detail::check_positive("Convolution", "stride", window.stride);
    require(window.padding >= 0, "Convolution: padding must not be negative, but is ", window.padding);
    weight_ = Parameter<Scalar, Device>({outputs, window.size, window.size, inputs}, WeightDecay::yes);
    bias_ = Parameter<Scalar, Device>({outputs});
    initialise_he(weight_, window.size * window.size * inputs, random);
  }

  [[nodiscard]] const Window& window() const { return window_; }
  [[nodiscard]] Index inputs() const { return weight_.extents()[3]; }
  [[nodiscard]] Index outputs() const { return weight_.extents()[0]; }

  /// The extents of the result for images of the given extents.
  [[nodiscard]] typename Image::Extents output_extents(const typename Image::Extents& in) const {
    return {in[0], window_.positions(in[1]), window_.positions(in[2]), outputs()};
  }

  void forward(Device& device, ConstImage x, Image y) {
    check(x, y, "y");
    for_each_run(device, x, [&](Index first, Index count, MatrixView<Scalar> patches) {
      const auto out = pixels(y.slice(first, count));
      im2col<Scalar>(device, x.slice(first, count), window_, patches);
      broadcast_bias<Scalar>(device, bias_.value().data(), MatrixView<const Scalar>(), out);
      matmul<Scalar>(device, patches, Op::none, weight_.matrix(), Op::transpose, out, Scalar(1), Scalar(1));
    });
  }

  /// d_x is overwritten, or skipped when it is not given.
  void backward(Device& device, ConstImage x, ConstImage d_y, Image d_x) {
    add_parameter_gradients(device, x, d_y);
    if (d_x.given()) input_gradient(device, d_y, d_x);
  }

  /// The two halves of backward, for callers that have x later than d_x.
  void add_parameter_gradients(Device& device, ConstImage x, ConstImage d_y) {
    check(x, d_y, "d_y");
    for_each_run(device, x, [&](Index first, Index count, MatrixView<Scalar> patches) {
      const auto upstream = pixels(d_y.slice(first, count));
      im2col<Scalar>(device, x.slice(first, count), window_, patches);
      matmul<Scalar>(device, upstream, Op::transpose, patches, Op::none, weight_.gradient_matrix(), Scalar(1),
                     Scalar(1));
      add_column_sums<Scalar>(device, upstream, bias_.gradient().data());
    });
  }
  void input_gradient(Device& device, ConstImage d_y, Image d_x) {
    check(d_x, d_y, "d_y");
    for_each_run(device, d_x, [&](Index first, Index count, MatrixView<Scalar> patches) {
      matmul<Scalar>(device, pixels(d_y.slice(first, count)), Op::none, weight_.matrix(), Op::none, patches,
                     Scalar(1), Scalar(0));
      col2im<Scalar>(device, patches, window_, d_x.slice(first, count));
    });
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    visit(join_names(prefix, "weight"), weight_);
    visit(join_names(prefix, "bias"), bias_);
  }

 private:
  template <class T>
  static MatrixView<T> pixels(const ImageView<T>& image) {
    return {image.data(), {image.extent(0) * image.extent(1) * image.extent(2), image.extent(3)}};
  }

  template <class T, class U>
  void check(const ImageView<T>& x, const ImageView<U>& y, std::string_view name) const {
    require(x.contiguous() && y.contiguous(), "Convolution: x and ", name, " must be contiguous");
    require(x.extent(3) == inputs(), "Convolution: x has ", x.extent(3), " channels but must have ",
            inputs());
    require(std::min(x.extent(1), x.extent(2)) + 2 * window_.padding >= window_.size,
            "Convolution: images of ", x.extent(1), " x ", x.extent(2), " are smaller than the window of ",
            window_.size);
    const auto expected = output_extents(x.extents());
    require(y.extents() == expected, "Convolution: ", name, " is ", y.extent(0), " x ", y.extent(1), " x ",
            y.extent(2), " x ", y.extent(3), " but must be ", expected[0], " x ", expected[1], " x ",
            expected[2], " x ", expected[3]);
  }

  /// Calls bod_y(first image, images, their patch matrix) for runs of images whose patches are about 4M
  /// elements.
  template <class T, class Bod_y>
  void for_each_run(Device& device, const ImageView<T>& x, Bod_y&& bod_y) {
    const Index positions = window_.positions(x.extent(1)) * window_.positions(x.extent(2));
    const Index patch = window_.size * window_.size * inputs();
    const Index run = std::max<Index>(1, (Index(1) << 22) / (positions * patch));
    auto scope = device.scratch().scope();
    Scalar* memory = scope.template take<Scalar>(std::min(run, x.extent(0)) * positions * patch);
    for (Index first = 0; first < x.extent(0); first += run) {
      const Index count = std::min(run, x.extent(0) - first);
      bod_y(first, count, MatrixView<Scalar>(memory, {count * positions, patch}));
    }
  }

  Window window_;
  Parameter<Scalar, Device> weight_, bias_;
};

}  // namespace vlp::nn
