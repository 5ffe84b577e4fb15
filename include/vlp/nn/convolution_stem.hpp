/// \file
/// The convolutional stem of the image encoder.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/convolution.hpp>
#include <vlp/nn/layer_norm.hpp>
#include <vlp/nn/ops/operations.hpp>
#include <vlp/nn/types.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::nn {

/// Images [B, H, W, C] to patch features [B, H / stride, W / stride, width] by 3 x 3 convolutions of stride
/// 2, each but the last followed by layer normalisation over channels and GELU in its tanh form (after Xiao
/// et al., "Early convolutions help transformers see better", 2021). stride = 2^(1 + number of hidden
/// stages).
template <class Scalar, class Device = Cpu>
class ConvolutionStem {
 public:
  using Image = ImageView<Scalar>;
  using ConstImage = ImageView<const Scalar>;

  /// `hidden`: the channels after each hidden stage, e.g. {32, 64} for stride 8.
  ConvolutionStem(Index channels, std::span<const Index> hidden, Index width, Random& random)
      : last_(hidden.empty() ? channels : hidden.back(), width, Window{3, 2, 1}, random) {
    stages_.reserve(hidden.size());
    for (Index next : hidden) {
      stages_.emplace_back(channels, next, random);
      channels = next;
    }
  }

  /// Pixels along an edge of a patch.
  [[nodiscard]] Index stride() const { return Index(2) << stages_.size(); }

  void forward(Device& device, ConstImage images, Image y) {
    auto scope = device.scratch().scope();
    ConstImage x = images;
    for (Stage& stage : stages_) {
      const auto extents = stage.convolution.output_extents(x.extents());
      const Image sums(stage.sums.resize(volume(extents)), extents);
      const Image normal(stage.normal.resize(volume(extents)), extents);
      const Image active(scope.template take<Scalar>(volume(extents)), extents);
      stage.convolution.forward(device, x, sums);
      stage.norm.forward(device, pixels(sums), pixels(normal));
      gelu_forward<Scalar>(device, GeluForm::tanh, normal.data(), active.data(), active.size());
      x = active;
    }
    last_.forward(device, x, y);
  }

  /// d_images is overwritten, or skipped when it is not given.
  void backward(Device& device, ConstImage images, ConstImage d_y, Image d_images = {}) {
    auto scope = device.scratch().scope();
    Convolution<Scalar, Device>* after = &last_;
    ConstImage upstream = d_y;
    for (std::size_t i = stages_.size(); i-- > 0;) {
      Stage& stage = stages_[i];
      const auto extents = stage_extents(images.extents(), i);
      const Index size = volume(extents);
      require(stage.sums.size() == size,
              "ConvolutionStem: images of backward are not those of forward: ", size,
              " elements after stage ", i, " but ", stage.sums.size(), " were kept");
      const Image gradient(scope.template take<Scalar>(size), extents),
          active(scope.template take<Scalar>(size), extents);
      const Image sums(stage.sums.data(), extents);
      after->input_gradient(device, upstream, gradient);
      gelu_backward<Scalar>(device, GeluForm::tanh, stage.normal.data(), gradient.data(), gradient.data(),
                            active.data(), size);
      after->add_parameter_gradients(device, active, upstream);
      stage.norm.backward(device, pixels(sums), pixels(gradient), pixels(gradient));
      after = &stage.convolution;
      upstream = gradient;
    }
    after->backward(device, images, upstream, d_images);
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    for (std::size_t i = 0; i < stages_.size(); ++i) {
      const std::string name = join_names(prefix, "stage" + std::to_string(i));
      stages_[i].convolution.for_each_parameter(join_names(name, "convolution"), visit);
      stages_[i].norm.for_each_parameter(join_names(name, "norm"), visit);
    }
    last_.for_each_parameter(join_names(prefix, "last"), visit);
  }

 private:
  struct Stage {
    Convolution<Scalar, Device> convolution;
    LayerNorm<Scalar, Device> norm;
    typename Device::template Buffer<Scalar> sums, normal;  // before and after the norm
    Stage(Index inputs, Index outputs, Random& random)
        : convolution(inputs, outputs, Window{3, 2, 1}, random), norm(outputs) {}
  };

  static Index volume(const typename Image::Extents& e) { return e[0] * e[1] * e[2] * e[3]; }
  static MatrixView<Scalar> pixels(const Image& image) {
    return reshape<2>(image, {image.size() / image.extent(3), image.extent(3)});
  }

  typename Image::Extents stage_extents(typename Image::Extents extents, std::size_t stage) const {
    for (std::size_t i = 0; i <= stage; ++i) extents = stages_[i].convolution.output_extents(extents);
    return extents;
  }

  std::vector<Stage> stages_;
  Convolution<Scalar, Device> last_;
};

}  // namespace vlp::nn
