/// \file
/// The patches of images as rows of a matrix on the CPU.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/types.hpp>

#include <algorithm>
#include <type_traits>

namespace vlp {

namespace nn::detail {

/// The part of one row of a window that lies inside an image row: `count` pixels, from pixel `pixel` of the
/// image and `offset` of the window on.
struct WindowOverlap {
  Index pixel, offset, count;
  WindowOverlap(const nn::Window& window, Index position, Index extent) {
    const Index first = position * window.stride - window.padding;
    offset = std::max<Index>(0, -first);
    pixel = first + offset;
    count = std::max<Index>(0, std::min(first + window.size, extent) - pixel);
  }
};

}  // namespace nn::detail

template <class Scalar>
void im2col(Cpu& device, std::type_identity_t<ImageView<const Scalar>> images, const nn::Window& window,
            std::type_identity_t<MatrixView<Scalar>> patches) {
  const auto [batch, height, width, channels] = images.extents();
  const Index out_height = window.positions(height), out_width = window.positions(width);
  const Index line = window.size * channels;
  const auto source = images;
  device.parallel_for(batch * out_height, [&, h = height, w = width, c = channels](Index task, int) {
    const Index b = task / out_height, oy = task % out_height;
    for (Index ox = 0; ox < out_width; ++ox) {
      const nn::detail::WindowOverlap x(window, ox, w);
      Scalar* out = patches.data() + (task * out_width + ox) * patches.stride(0);
      for (Index ky = 0; ky < window.size; ++ky, out += line) {
        const Index iy = oy * window.stride - window.padding + ky;
        if (iy < 0 || iy >= h) {
          std::fill_n(out, line, Scalar(0));
          continue;
        }
        const Scalar* in = source.data() + ((b * h + iy) * w + x.pixel) * c;
        Scalar* end = std::fill_n(out, x.offset * c, Scalar(0));
        end = std::copy_n(in, x.count * c, end);
        std::fill(end, out + line, Scalar(0));
      }
    }
  });
}

template <class Scalar>
void col2im(Cpu& device, std::type_identity_t<MatrixView<const Scalar>> patches, const nn::Window& window,
            std::type_identity_t<ImageView<Scalar>> d_images) {
  const auto [batch, height, width, channels] = d_images.extents();
  const Index out_height = window.positions(height), out_width = window.positions(width);
  const Index line = window.size * channels;
  device.parallel_for(batch * height, [&, h = height, w = width, c = channels](Index task, int) {
    const Index b = task / h, iy = task % h;
    Scalar* out = d_images.data() + task * w * c;
    std::fill_n(out, w * c, Scalar(0));
    for (Index ky = 0; ky < window.size; ++ky) {
      const Index from_top = iy + window.padding - ky;
      if (from_top < 0 || from_top % window.stride != 0 || from_top / window.stride >= out_height) continue;
      const Index row = (b * out_height + from_top / window.stride) * out_width;
      for (Index ox = 0; ox < out_width; ++ox) {
        const nn::detail::WindowOverlap x(window, ox, w);
        const Scalar* in = patches.data() + (row + ox) * patches.stride(0) + ky * line + x.offset * c;
        for (Index i = 0; i < x.count * c; ++i) out[x.pixel * c + i] += in[i];
      }
    }
  });
}

}  // namespace vlp
