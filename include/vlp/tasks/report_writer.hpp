/// \file
/// The writers of a hybrid run: impressions for images, for findings, or for both.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/view.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>
#include <vlp/io/parameters.hpp>
#include <vlp/io/resize.hpp>
#include <vlp/models/dual_encoder.hpp>
#include <vlp/models/image_encoder.hpp>
#include <vlp/models/report_decoder.hpp>
#include <vlp/models/summariser.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/nn/tokens.hpp>
#include <vlp/tasks/hybrid_options.hpp>
#include <vlp/tasks/written_report.hpp>
#include <vlp/text/normalise.hpp>
#include <vlp/text/vocabulary.hpp>
#include <vlp/text/word_piece.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::tasks {

/// Files of a hybrid run that ReportWriter reads; an empty path stands for a part that is not wanted.
struct ReportWriterFiles {
  io::Path captioner = {};   ///< a checkpoint of the second stage: `image_encoder.*` and `decoder.*` are read
  io::Path summariser = {};  ///< a checkpoint of the first stage: `text_encoder.*` and `decoder.*`
};

/// The parts of a hybrid run that write, read from its checkpoints: the captioner writes an impression for an
/// image, the summariser for findings, and both together for an image with its findings. Nothing else of the
/// run is needed, no data and no optimiser.
template <class Scalar = float, class Device = Cpu>
class ReportWriter {
 public:
  /// `options` are those of the run, `vocabulary` is its own. Throws std::invalid_argument for an option out
  /// of range, std::runtime_error, naming the file, where one cannot be read or holds another model.
  ReportWriter(Device& device, const HybridOptions& options, text::Vocabulary vocabulary,
               const ReportWriterFiles& files)
      : options_(checked(options)), word_piece_(std::move(vocabulary)) {
    if (!files.captioner.empty()) {
      captioner_.emplace(options, shape());
      read(device, files.captioner, *captioner_, captioner_parameters_);
    }
    if (!files.summariser.empty()) {
      summariser_.emplace(options.pairs.model, shape(), options.pairs.seed);
      read(device, files.summariser, *summariser_, summariser_parameters_);
    }
  }
  ReportWriter(const ReportWriter&) = delete;  // its parameters point into it
  ReportWriter& operator=(const ReportWriter&) = delete;

  [[nodiscard]] const text::Vocabulary& vocabulary() const { return word_piece_.vocabulary(); }
  /// The regions of an image form a square grid of this many a side. Needs the captioner.
  [[nodiscard]] Index grid() const { return captioner().image_encoder.grid(); }

  /// Writes an impression for each image, of image_size x image_size pixels at any scale. `attention`, if
  /// given, receives for each the words with their attention to the regions, row by row of the grid. Throws
  /// std::invalid_argument for images of another size and without the captioner, and what write_reports
  /// throws.
  [[nodiscard]] std::vector<WrittenReport> from_images(
      Device& device, std::span<const io::GrayImage> images, const WritingOptions& options,
      std::vector<std::vector<AttendedWord>>* attention = nullptr, StopToken stop = {}) {
    return in_batches(images.size(), [&](std::size_t first, std::size_t count) {
      const auto about = encode(device, images.subspan(first, count));
      auto reports = write_reports(device, about, vocabulary(), options, stop);
      add_attention(device, about, reports, attention);
      return reports;
    });
  }

  /// Writes an impression for each text, of which the first max_words words are read. Throws
  /// std::invalid_argument without the summariser, and what write_reports throws.
  [[nodiscard]] std::vector<WrittenReport> from_findings(Device& device,
                                                         std::span<const std::string> findings,
                                                         const WritingOptions& options, StopToken stop = {}) {
    return in_batches(findings.size(), [&](std::size_t first, std::size_t count) {
      return write_reports(device, encode(device, findings.subspan(first, count)), vocabulary(), options,
                           stop);
    });
  }

  /// Writes an impression for each image with its findings, by both writers together. Throws
  /// std::invalid_argument for another number of findings, and what the two above throw.
  [[nodiscard]] std::vector<WrittenReport> from_both(
      Device& device, std::span<const io::GrayImage> images, std::span<const std::string> findings,
      const WritingOptions& options, std::vector<std::vector<AttendedWord>>* attention = nullptr,
      StopToken stop = {}) {
    require(images.size() == findings.size(), "ReportWriter: ", images.size(), " images but ",
            findings.size(), " findings");
    return in_batches(images.size(), [&](std::size_t first, std::size_t count) {
      const auto about = encode(device, images.subspan(first, count));
      auto reports = write_reports(device, about, encode(device, findings.subspan(first, count)),
                                   vocabulary(), options, stop);
      add_attention(device, about, reports, attention);
      return reports;
    });
  }

 private:
  using Context = WritingContext<Scalar, Device>;

  static constexpr std::size_t batch = 16;  // images or findings that are written about at a time

  struct Captioner {
    Captioner(const HybridOptions& options, const models::DecoderShape& shape)
        : image_encoder(models::image_encoder_options(options.pairs.model, options.pairs.image_size, true),
                        Random(0)),
          decoder(models::report_decoder_options(options.pairs.model, shape, "caption"), Random(0)) {}

    template <class Visit>
    void for_each_parameter(std::string_view prefix, Visit&& visit) {
      image_encoder.for_each_parameter(join_names(prefix, "image_encoder"), visit);
      decoder.for_each_parameter(join_names(prefix, "decoder"), visit);
    }

    models::ImageEncoder<Scalar, Device> image_encoder;
    models::ReportDecoder<Scalar, Device> decoder;
  };

  static const HybridOptions& checked(const HybridOptions& options) {
    validate(options);
    return options;
  }

  [[nodiscard]] const Captioner& captioner() const {
    require(captioner_.has_value(), "ReportWriter: made without a captioner, which images need");
    return *captioner_;
  }

  [[nodiscard]] Index max_pieces() const {
    return data::PairBatchOptions{.max_words = options_.pairs.max_words}.max_pieces();
  }
  [[nodiscard]] models::DecoderShape shape() const {
    return {.blocks = options_.objective.decoder_blocks,
            .tied_output = options_.objective.tied_output,
            .vocabulary = static_cast<Index>(vocabulary().size()),
            .longest_text = max_pieces()};
  }

  template <class Model>
  static void read(Device& device, const io::Path& file, Model& model,
                   std::optional<Parameters<Scalar, Device>>& parameters) {
    parameters.emplace(device, model);
    std::vector<std::string> names;  // the file may hold more: heads, scales, the optimiser
    for (const auto& [name, parameter] : parameters->list()) names.push_back(name);
    static_cast<void>(io::read_parameters(device, file, parameters->list(), {.subset = std::move(names)}));
  }

  /// Calls write(first, count), which returns so many reports, for `total` of them in batches.
  template <class Write>
  static std::vector<WrittenReport> in_batches(std::size_t total, Write&& write) {
    std::vector<WrittenReport> all;
    for (std::size_t first = 0; first < total; first += batch) {
      std::vector<WrittenReport> some = write(first, std::min(batch, total - first));
      std::ranges::move(some, std::back_inserter(all));
    }
    return all;
  }

  /// Regions of images, until the next call.
  Context encode(Device& device, std::span<const io::GrayImage> images) {
    static_cast<void>(captioner());
    const Index size = options_.pairs.image_size, count = static_cast<Index>(images.size());
    std::vector<Scalar> pixels;
    for (const io::GrayImage& image : images) {
      require(image.width == size && image.height == size, "ReportWriter: an image of ", image.width, " x ",
              image.height, " pixels for a model of ", size, " x ", size);
      io::GrayImage standardised = image;
      io::standardise(standardised);
      pixels.insert(pixels.end(), standardised.pixels.begin(), standardised.pixels.end());
    }
    auto& encoder = captioner_->image_encoder;
    upload(device, std::span<const Scalar>(pixels), images_.resize(static_cast<Index>(pixels.size())));
    regions_of_images_.assign_equal(device, count, encoder.regions());
    const auto features = regions_.reshape(count, encoder.regions(), encoder.width());
    encoder.forward(device, {images_.data(), {count, size, size, 1}}, features, {});
    return {captioner_->decoder, flatten_rows(BatchView<const Scalar>(features)), regions_of_images_};
  }

  /// Pieces of findings, until the next call.
  Context encode(Device& device, std::span<const std::string> findings) {
    require(summariser_.has_value(), "ReportWriter: made without a summariser, which findings need");
    std::vector<text::PieceId> ids;
    std::vector<std::int32_t> words;
    std::vector<Index> offsets{0};
    for (const std::string& text : findings) {
      word_piece_.encode(text::normalise(text, static_cast<std::size_t>(options_.pairs.max_words)),
                         static_cast<std::size_t>(max_pieces()), ids, words);
      offsets.push_back(static_cast<Index>(ids.size()));
    }
    findings_.assign(device, ids, offsets);
    return {summariser_->decoder(), summariser_->encode(device, findings_), findings_.sequences()};
  }

  void add_attention(Device& device, const Context& about, std::span<const WrittenReport> reports,
                     std::vector<std::vector<AttendedWord>>* attention) const {
    if (attention == nullptr) return;
    std::ranges::move(attended_words(device, about, reports, vocabulary()), std::back_inserter(*attention));
  }

  HybridOptions options_;
  text::WordPiece word_piece_;
  std::optional<Captioner> captioner_;
  std::optional<models::Summariser<Scalar, Device>> summariser_;
  std::optional<Parameters<Scalar, Device>> captioner_parameters_, summariser_parameters_;
  typename Device::template Buffer<Scalar> images_, regions_;
  nn::Sequences<Device> regions_of_images_;
  nn::Tokens<Device> findings_;
};

}  // namespace vlp::tasks
