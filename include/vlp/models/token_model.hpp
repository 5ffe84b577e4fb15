/// \file
/// The concept of a model that writes texts one token at a time.
#pragma once

#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <concepts>
#include <cstdint>
#include <span>

namespace vlp::models {

/// A model that is asked for the next tokens of texts that are being written, all of the same length, as a
/// search does it. It has been given its contexts, which stay the same until the texts are done.
///
/// next(device, parents, tokens): text i becomes text parents[i] of the last call, or at the first call an
///   empty text for context parents[i], with tokens[i] appended. Several texts may have one parent, some may
///   have no child, and they may come in any order. Returns the logits [texts, vocabulary] of the token after
///   each, in device memory, valid until the next call. Throws std::invalid_argument for numbers of parents
///   and tokens that differ, a parent or a token that there is not, and a text that is as long as it may be;
///   then the texts are as they were before the call.
/// vocabulary(): number of tokens, V; those are 0 to V - 1.
/// positions(): the most tokens that a text may have, the first one included.
template <class Model, class Scalar, class Device>
concept TokenModel = requires(Model& model, const Model& known, Device& device,
                              std::span<const Index> parents, std::span<const std::int32_t> tokens) {
  { known.vocabulary() } -> std::same_as<Index>;
  { known.positions() } -> std::same_as<Index>;
  { model.next(device, parents, tokens) } -> std::same_as<MatrixView<const Scalar>>;
};

}  // namespace vlp::models
