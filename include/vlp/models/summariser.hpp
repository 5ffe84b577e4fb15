/// \file
/// A text encoder and a decoder that writes impressions from findings.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/models/dual_encoder.hpp>
#include <vlp/models/report_decoder.hpp>
#include <vlp/models/text_encoder.hpp>
#include <vlp/nn/tokens.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace vlp::models {

/// Sizes of a ReportDecoder beside those of the encoder whose features it attends to.
struct DecoderShape {
  Index blocks = 2;         ///< transformer blocks
  bool tied_output = true;  ///< see ReportDecoderOptions
  Index vocabulary = 0;     ///< word pieces
  Index longest_text = 0;   ///< word pieces of the longest text, [CLS] and [SEP] included
};

/// A ReportDecoder with one branch that attends to features of a DualEncoder, as wide as its encoders.
[[nodiscard]] inline ReportDecoderOptions report_decoder_options(const DualEncoderOptions& options,
                                                                 const DecoderShape& shape,
                                                                 std::string branch) {
  return {.vocabulary = shape.vocabulary,
          .positions = shape.longest_text,
          .width = options.width,
          .depth = shape.blocks,
          .heads = options.heads,
          .branches = {std::move(branch)},
          .tied_output = shape.tied_output};
}

/// The stream of random numbers from which a decoder beside a DualEncoder, or in its place, draws its
/// weights.
[[nodiscard]] inline Random decoder_weights(std::uint64_t seed) {
  return Random(seed, DualEncoder<float>::weights_stream, 6);
}

/// Findings -> text encoder -> a feature of each piece -> decoder with the branch "summary" -> a feature of
/// each token of the impression, which decoder().logits turns into logits of the token after it.
///
/// Its text encoder is that of a DualEncoder of the same options, and its parameters have the names
/// `text_encoder.*`, as there, and `decoder.*`.
template <class Scalar, class Device = Cpu>
class Summariser {
 public:
  struct Inputs {
    const nn::Tokens<Device>& findings;  ///< S sequences
    const nn::Tokens<Device>& tokens;    ///< T tokens in S sequences: the beginning of each impression
  };

  /// All weights are drawn from the seed: those of the text encoder as a DualEncoder draws them.
  Summariser(const DualEncoderOptions& options, const DecoderShape& shape, std::uint64_t seed)
      : text_encoder_(text_encoder_options(options, shape.vocabulary, shape.longest_text),
                      Random(seed, DualEncoder<Scalar, Device>::weights_stream, 1)),
        decoder_(report_decoder_options(options, shape, "summary"), decoder_weights(seed)) {}

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    text_encoder_.for_each_parameter(join_names(prefix, "text_encoder"), visit);
    decoder_.for_each_parameter(join_names(prefix, "decoder"), visit);
  }

  [[nodiscard]] TextEncoder<Scalar, Device>& text_encoder() { return text_encoder_; }
  [[nodiscard]] ReportDecoder<Scalar, Device>& decoder() { return decoder_; }
  [[nodiscard]] Index width() const { return decoder_.width(); }

  /// The features [pieces, width] of the pieces of findings, to which the decoder attends, in device memory
  /// until the next call. See TextEncoder for what is refused.
  MatrixView<const Scalar> encode(Device& device, const nn::Tokens<Device>& findings) {
    const auto context = context_.reshape(findings.count(), width());
    text_encoder_.forward(device, findings, {}, context);
    return context;
  }

  /// hidden [T, width], see ReportDecoder.
  void forward(Device& device, const Inputs& in, MatrixView<Scalar> hidden) {
    static_cast<void>(encode(device, in.findings));
    decoder_.forward(device, decoder_inputs(in), hidden);
  }

  /// Adds to the gradients of the parameters, from that by `hidden` of the last forward, whose inputs were
  /// `in`.
  void backward(Device& device, const Inputs& in, MatrixView<const Scalar> d_hidden) {
    auto scope = device.scratch().scope();
    const auto d_context = scope.template take_view<Scalar>(in.findings.count(), width());
    fill(device, d_context.data(), d_context.size(), Scalar(0));
    decoder_.backward(device, decoder_inputs(in), d_hidden, d_context);
    text_encoder_.backward(device, in.findings, {}, d_context);
  }

 private:
  [[nodiscard]] typename ReportDecoder<Scalar, Device>::Inputs decoder_inputs(const Inputs& in) const {
    return {.tokens = in.tokens,
            .context = MatrixView<const Scalar>(context_.data(), {in.findings.count(), width()}),
            .contexts = in.findings.sequences()};
  }

  TextEncoder<Scalar, Device> text_encoder_;
  ReportDecoder<Scalar, Device> decoder_;
  typename Device::template Buffer<Scalar> context_;  // features of the findings
};

}  // namespace vlp::models
