/// \file
/// Features of a batch of pairs: views of them, and memory for them.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <type_traits>

namespace vlp::models {

/// Features of a batch of pairs in the shared space, or gradients by them, in device memory.
template <class T>
struct PairFeatures {
  MatrixView<T> image;   ///< [B, E]
  BatchView<T> text;     ///< [B, N, E]
  BatchView<T> regions;  ///< [B, R, E]; not given without regions
  BatchView<T> words;    ///< [B, W, E] of unit length; not given without regions

  /// Those of the pairs `first` to `first + count`.
  [[nodiscard]] PairFeatures slice(Index first, Index count) const {
    return {image.slice(first, count), text.slice(first, count), regions.slice(first, count),
            words.slice(first, count)};
  }

  /// The same to read alone.
  operator PairFeatures<const T>() const  // NOLINT(google-explicit-constructor): as a View does
      requires(!std::is_const_v<T>) {
    return {image, text, regions, words};
  }
};

/// Features of a batch as the encoders give them, or gradients by them, in device memory: what a decoder
/// attends to.
template <class T>
struct EncoderFeatures {
  BatchView<T> regions = {};  ///< [B, R, width]
  MatrixView<T> pieces = {};  ///< [T, width], of all texts

  /// The same to read alone.
  operator EncoderFeatures<const T>() const  // NOLINT(google-explicit-constructor): as a View does
      requires(!std::is_const_v<T>) {
    return {regions, pieces};
  }
};

/// Extents of a PairFeatures.
struct PairFeatureExtents {
  Index pairs = 0;           ///< B
  Index texts_per_pair = 1;  ///< N
  Index words_per_text = 0;  ///< W
  Index regions = 0;         ///< R; 0: there are neither regions nor words
  Index embedding = 0;       ///< E
};

/// Memory of a PairFeatures, which is reused from batch to batch.
template <class Scalar, class Device = Cpu>
class PairFeatureBuffers {
 public:
  /// Makes room for features of the given extents, uninitialised, and returns them.
  const PairFeatures<Scalar>& resize(const PairFeatureExtents& e) {
    view_ = {};
    view_.image = image_.reshape(e.pairs, e.embedding);
    view_.text = text_.reshape(e.pairs, e.texts_per_pair, e.embedding);
    if (e.regions == 0) return view_;
    view_.regions = regions_.reshape(e.pairs, e.regions, e.embedding);
    view_.words = words_.reshape(e.pairs, e.words_per_text, e.embedding);
    return view_;
  }

  /// The features that the last resize() made room for.
  [[nodiscard]] const PairFeatures<Scalar>& view() const { return view_; }

 private:
  using Buffer = typename Device::template Buffer<Scalar>;

  Buffer image_, text_, regions_, words_;
  PairFeatures<Scalar> view_;
};

}  // namespace vlp::models
