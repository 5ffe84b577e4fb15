/// \file
/// Types that contrastive losses over pairs of images and texts share: which text is an image's own, which
/// part of all pairs a call is given, and the sums that the parts leave.
#pragma once

#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

namespace vlp {

/// The place of the given images and texts in their batch, and which text of the batch is an image's own. By
/// default the given ones are the whole batch, and text i is image i's own; texts beyond those of the images
/// are negatives of every image.
///
/// A call that is given part of the batch computes a block of its scores, for the losses that say so. Group
/// ids and the validity of texts are always those of the whole batch.
struct PairBlock {
  Index images = 0;         ///< images of the batch; 0: first_image + as many as are given
  Index texts = 0;          ///< texts of the batch; 0: first_text + as many as are given
  Index first_image = 0;    ///< place in the batch of the first image given
  Index first_text = 0;     ///< place in the batch of the first text given
  Index own_text = 0;       ///< place in the batch of the text that belongs to image 0 of the batch
  Index own_text_step = 1;  ///< image i's own text is own_text + i * own_text_step; at least 1

  /// The place in the batch of the text that belongs to image `image` of the batch.
  [[nodiscard]] constexpr Index text_of(Index image) const noexcept {
    return own_text + image * own_text_step;
  }

  /// The image of the batch that text `text` of the batch belongs to, or -1.
  [[nodiscard]] constexpr Index image_of(Index text) const noexcept {
    const Index from = text - own_text;
    return from >= 0 && from % own_text_step == 0 && from / own_text_step < images ? from / own_text_step
                                                                                   : -1;
  }

  /// The same with `images` and `texts` filled in, for that many images and texts given.
  [[nodiscard]] constexpr PairBlock of(Index given_images, Index given_texts) const noexcept {
    PairBlock out = *this;
    if (images == 0) out.images = first_image + given_images;
    if (texts == 0) out.texts = first_text + given_texts;
    return out;
  }
};

/// Log-sum-exps of the scores of some rows, or columns: max + log(sum), where `sum` is that of exp(score -
/// max). A max of `lowest` with a sum of 0 stands for no score at all. On CUDA devices max is 0 where no
/// exponential of a score can leave the range of float.
template <class Accumulator>
struct LogSumExps {
  VectorView<Accumulator> max{}, sum{};
};

/// Sums over the scores of a block, from which a contrastive loss over the whole batch is finished. All of
/// them are in the device's memory.
template <class Accumulator>
struct ContrastSums {
  LogSumExps<Accumulator> rows{};     ///< of each image given, over the texts met so far
  LogSumExps<Accumulator> columns{};  ///< of each text given, over the images met so far
  double* target_score = nullptr;     ///< sum of the scores met so far, times their weights as targets
};

}  // namespace vlp
