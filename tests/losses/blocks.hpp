/// \file
/// A batch cut into blocks of images and texts, for losses that can be computed so. Written once over them.
#pragma once

#include "support/device.hpp"
#include "support/loss_case.hpp"
#include "support/saved_memory.hpp"

#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/loss.hpp>

#include <cstddef>
#include <deque>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::test {

/// Images [first_image, first_image + images) and texts [first_text, first_text + texts) of a batch.
struct Part {
  Index first_image, images, first_text, texts;
};

/// The parts that are not empty between `image_cuts` and between `text_cuts`, which begin with 0 and end with
/// the batch.
inline std::vector<Part> parts(const std::vector<Index>& image_cuts, const std::vector<Index>& text_cuts) {
  std::vector<Part> out;
  for (std::size_t i = 0; i + 1 < image_cuts.size(); ++i)
    for (std::size_t j = 0; j + 1 < text_cuts.size(); ++j)
      if (image_cuts[i] < image_cuts[i + 1] && text_cuts[j] < text_cuts[j + 1])
        out.push_back({image_cuts[i], image_cuts[i + 1] - image_cuts[i], text_cuts[j],
                       text_cuts[j + 1] - text_cuts[j]});
  return out;
}

/// 0, step, 2 step, ..., count
inline std::vector<Index> cuts(Index count, Index step) {
  std::vector<Index> out;
  for (Index at = 0; at < count; at += step) out.push_back(at);
  out.push_back(count);
  return out;
}

/// The inputs, or with them the gradients, of a part of a batch. Numbers belong to every part.
template <class Members>
Members part_of(const Members& whole, const Part& part) {
  Members out = whole;
  if constexpr (requires { whole.image; }) {
    out.image = whole.image.slice(part.first_image, part.images);
    out.text = whole.text.slice(part.first_text, part.texts);
  } else {
    out.regions = whole.regions.slice(part.first_image, part.images);
    out.words = whole.words.slice(part.first_text, part.texts);
    if constexpr (requires { whole.word_count; })
      if (!whole.word_count.empty())
        out.word_count = whole.word_count.subspan(static_cast<std::size_t>(part.first_text),
                                                  static_cast<std::size_t>(part.texts));
  }
  return out;
}

template <Loss L>
typename L::Inputs inputs_of_part(const typename L::Inputs& whole, const Part& part) {
  typename L::Inputs out = part_of(whole, part);
  const auto [images, texts] = L::block_extents(whole);
  out.block = whole.block.of(images, texts);
  out.block.first_image = part.first_image;
  out.block.first_text = part.first_text;
  return out;
}

/// Log-sum-exps and a target score in the device's memory; those of no score at first.
template <Loss L>
class TestSums {
 public:
  using Accumulator = typename L::Accumulator;

  TestSums(Index images, Index texts)
      : row_max_(of(images, lowest)),
        row_sum_(of(images, 0)),
        column_max_(of(texts, lowest)),
        column_sum_(of(texts, 0)),
        target_score_({0.0}) {}

  /// Those of some rows and columns.
  ContrastSums<Accumulator> part(const Part& part) {
    const auto view = [](auto& array, Index first, Index count) {
      return VectorView<Accumulator>(array.data() + first, {count});
    };
    return {{view(row_max_, part.first_image, part.images), view(row_sum_, part.first_image, part.images)},
            {view(column_max_, part.first_text, part.texts), view(column_sum_, part.first_text, part.texts)},
            target_score_.data()};
  }

 private:
  using Memory = DeviceArray<Accumulator, typename L::Device>;
  static constexpr Accumulator lowest = std::numeric_limits<Accumulator>::lowest();

  static std::vector<Accumulator> of(Index count, Accumulator value) {
    return std::vector<Accumulator>(static_cast<std::size_t>(count), value);
  }

  Memory row_max_, row_sum_, column_max_, column_sum_;
  DeviceArray<double, typename L::Device> target_score_;
};

/// How the sums of parts come together.
enum class Gathering {
  added,           ///< each part is added to the batch's sums as it is met
  merged,          ///< each part has sums of its own, merged in order
  merged_backward  ///< the same, but parts are computed in the opposite order
};

/// A batch's loss and gradients by its parts. Gradients are those of `whole`, to which parts are added.
template <Loss L>
double run_in_parts(LossCase<L>& whole, const typename L::Options& options, const std::vector<Part>& all,
                    Gathering gathering = Gathering::added, double upstream = 1) {
  using Accumulator = typename L::Accumulator;
  auto device = make_device<typename L::Device>(2);
  const L loss(options);
  const auto [images, texts] = L::block_extents(whole.inputs);
  TestSums<L> sums(images, texts);
  const std::size_t count = all.size();
  std::deque<SavedMemory> saved;
  std::deque<TestSums<L>> own;
  for (const Part& part : all) {
    saved.emplace_back(loss.block_saved_bytes(inputs_of_part<L>(whole.inputs, part)));
    own.emplace_back(part.images, part.texts);
  }
  for (std::size_t n = 0; n < count; ++n) {
    const std::size_t k = gathering == Gathering::merged_backward ? count - 1 - n : n;
    const typename L::Inputs inputs = inputs_of_part<L>(whole.inputs, all[k]);
    if (gathering == Gathering::added)
      loss.accumulate(device, inputs, {}, sums.part(all[k]), Into::add, saved[k].span());
    else
      loss.accumulate(device, inputs, {}, own[k].part({0, all[k].images, 0, all[k].texts}), Into::overwrite,
                      saved[k].span());
  }
  if (gathering != Gathering::added)
    for (std::size_t k = 0; k < count; ++k)
      L::merge(device, own[k].part({0, all[k].images, 0, all[k].texts}), sums.part(all[k]));

  // The loss comes in shares too: of the rows, of the columns and of the target scores.
  double value = 0;
  const auto add_share = [&](PairBlock block, const ContrastSums<Accumulator>& of) {
    DeviceArray<Accumulator, typename L::Device> share({not_a_result<Accumulator>()});
    loss.finish(device, block, of, share.data());
    wait_for(device);
    share.download();
    value += to_double(share.host()[0]);
  };
  PairBlock block = whole.inputs.block.of(images, texts);
  for (const Part& part : all) {
    block.first_image = part.first_image;
    block.first_text = part.first_text;
    const auto complete = sums.part(part);
    if (part.first_text == 0) add_share(block, {complete.rows, {}, nullptr});
    if (part.first_image == 0) add_share(block, {{}, complete.columns, nullptr});
  }
  block.first_image = block.first_text = 0;
  add_share(block, {{}, {}, sums.part({0, 0, 0, 0}).target_score});

  for (std::size_t k = 0; k < count; ++k) {
    typename L::Gradients gradients = part_of(whole.gradients, all[k]);
    gradients.into = Into::add;
    loss.differentiate(device, inputs_of_part<L>(whole.inputs, all[k]), sums.part(all[k]), saved[k].span(),
                       static_cast<Accumulator>(upstream), gradients);
  }
  wait_for(device);
  return value;
}

/// The same for a loss without a normaliser, whose passes take parts as they are.
template <Loss L>
double add_parts(LossCase<L>& whole, const typename L::Options& options, const std::vector<Part>& all,
                 double upstream = 1) {
  using Accumulator = typename L::Accumulator;
  auto device = make_device<typename L::Device>(2);
  const L loss(options);
  double value = 0;
  bool at_once = false;
  for (const Part& part : all) {
    const typename L::Inputs inputs = inputs_of_part<L>(whole.inputs, part);
    typename L::Gradients gradients = part_of(whole.gradients, part);
    gradients.into = Into::add;
    DeviceArray<Accumulator, typename L::Device> share({not_a_result<Accumulator>()});
    typename L::Outputs outputs{};
    outputs.loss = share.data();
    at_once = !at_once;  // both ways in turn
    if (at_once) {
      loss.forward_backward(device, inputs, static_cast<Accumulator>(upstream), outputs, gradients);
    } else {
      SavedMemory saved(loss.saved_bytes(inputs));
      loss.forward(device, inputs, outputs, saved.span());
      loss.backward(device, inputs, saved.span(), static_cast<Accumulator>(upstream), gradients);
      wait_for(device);
    }
    wait_for(device);
    share.download();
    value += to_double(share.host()[0]);
  }
  return value;
}

/// Sets all gradients to 0, for parts to be added to.
template <Loss L>
void clear_gradients(LossCase<L>& whole) {
  L::for_each_input(whole.inputs, whole.gradients,
                    [&]([[maybe_unused]] std::string_view name, auto&, auto&... gradient) {
                      [[maybe_unused]] const auto clear = [&](const auto& of) {
                        if constexpr (requires { of.given(); }) {
                          if (of.given()) whole.fill_gradient(std::string(name), 0);
                        } else if (of != nullptr) {
                          whole.fill_gradient(std::string(name), 0);
                        }
                      };
                      (clear(gradient), ...);
                    });
}

}  // namespace vlp::test
