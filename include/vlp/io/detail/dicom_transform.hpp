/// \file
/// From the stored values of a DICOM image to grey: the modality, VOI and presentation transformations of
/// PS3.3, C.11.1, C.11.2 and C.11.6.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/detail/dicom_attributes.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::io::detail {

/// A lookup table. Values below the first mapped one have the first entry, those above the last the last.
struct DicomTable {
  Index first = 0;                     ///< the value that the first entry stands for
  int bits = 0;                        ///< bits of an entry
  std::vector<std::uint16_t> entries;  ///< at least one

  [[nodiscard]] std::uint16_t at(double value) const {
    const auto last = static_cast<double>(entries.size() - 1);
    return entries[static_cast<std::size_t>(
        std::clamp(std::floor(value) - static_cast<double>(first), 0.0, last))];
  }
};

/// Reads the table of the first item of a sequence; nothing where there is no item. `signed_input` says
/// whether the values to be mapped may be negative, which counts where the file does not say how the first
/// one is written.
inline std::optional<DicomTable> read_dicom_table(const DicomAttributes& image,
                                                  const DicomAttribute& sequence, bool signed_input) {
  const std::optional<DicomAttributes> item = image.first_item(sequence);
  if (!item) return {};
  const std::string& name = image.name();
  const DicomElement* descriptor = item->find(dicom::lut_descriptor);
  const DicomElement* data = item->find(dicom::lut_data);
  ensure(descriptor != nullptr && descriptor->value.size() == 6 && data != nullptr && !data->undefined, name,
         ": damaged DICOM file (", sequence.name,
         " has a table without a descriptor of three numbers, or data)");
  const DicomEncoding& encoding = item->encoding();
  const auto number = [&](std::size_t i) { return encoding.number16(descriptor->value.substr(2 * i)); };

  DicomTable table;
  const std::size_t count = number(0) == 0 ? 65536 : number(0);  // which has no 16 bits
  const bool is_signed = descriptor->vr == "SS" || (descriptor->vr != "US" && signed_input);
  table.first = is_signed ? static_cast<std::int16_t>(number(1)) : number(1);
  table.bits = number(2);
  ensure(table.bits >= 1 && table.bits <= 16, name, ": damaged DICOM file (", sequence.name,
         " has a table of ", table.bits, " bits)");
  // Entries of up to 8 bits may be packed two to a word, the lower one first.
  const std::size_t size = data->value.size();
  const bool packed = size != 2 * count && size == count + count % 2 && table.bits <= 8;
  ensure(packed || size == 2 * count, name, ": damaged DICOM file (", sequence.name, " has a table of ",
         count, " entries in ", size, " bytes)");
  table.entries.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint16_t word = encoding.number16(data->value.substr(packed ? i / 2 * 2 : 2 * i));
    table.entries[i] = static_cast<std::uint16_t>(packed ? (word >> 8 * (i % 2)) & 0xFF : word);
    ensure(table.entries[i] >> table.bits == 0, name, ": damaged DICOM file (", sequence.name,
           " has the entry ", table.entries[i], " in a table of ", table.bits, " bits)");
  }
  return table;
}

/// A VOI window (PS3.3, C.11.2.1.2 and C.11.2.1.3).
struct DicomWindow {
  enum class Function { linear, linear_exact, sigmoid };
  double center = 0, width = 1;
  Function function = Function::linear;

  /// The value in [0, 1].
  [[nodiscard]] double operator()(double x) const {
    if (function == Function::sigmoid) return 1 / (1 + std::exp(-4 * (x - center) / width));
    const double half = function == Function::linear ? 0.5 : 0.0;
    const double middle = center - half, extent = width - 2 * half;
    if (x <= middle - extent / 2) return 0;
    if (x > middle + extent / 2) return 1;
    return std::clamp((x - middle) / extent + 0.5, 0.0, 1.0);  // as rounding may lead beyond
  }
};

/// Reads the first of the windows; nothing where there is none.
inline std::optional<DicomWindow> read_dicom_window(const DicomAttributes& image) {
  const std::optional<double> center = image.decimal(dicom::window_center),
                              width = image.decimal(dicom::window_width);
  const std::string& name = image.name();
  ensure(center.has_value() == width.has_value(), name,
         ": a DICOM file with one of WindowCenter and WindowWidth");
  if (!center) return {};
  using Function = DicomWindow::Function;
  const std::string_view function = image.text(dicom::window_function);
  DicomWindow window{*center, *width, Function::linear};
  if (function == "LINEAR_EXACT")
    window.function = Function::linear_exact;
  else if (function == "SIGMOID")
    window.function = Function::sigmoid;
  else
    ensure(function.empty() || function == "LINEAR", name, ": VOILUTFunction ", function.substr(0, 40),
           " is not supported");
  const bool linear = window.function == Function::linear;
  ensure(linear ? window.width >= 1 : window.width > 0, name, ": WindowWidth must be ",
         linear ? "at least 1" : "positive", ", but is ", window.width);
  return window;
}

/// How the stored values of a grey image are written, and what is made of them.
class DicomTransform {
 public:
  /// Reads it from the attributes of a grey image.
  explicit DicomTransform(const DicomAttributes& image) {
    const std::string& name = image.name();
    stored_bits_ = image.required(dicom::bits_stored);
    const int allocated = image.required(dicom::bits_allocated);
    const int high = image.number(dicom::high_bit).value_or(stored_bits_ - 1);
    ensure(stored_bits_ >= 1 && stored_bits_ <= allocated && high >= stored_bits_ - 1 && high < allocated,
           name, ": damaged DICOM file (BitsStored ", stored_bits_, ", HighBit ", high, ", BitsAllocated ",
           allocated, ")");
    shift_ = high + 1 - stored_bits_;
    const int representation = image.required(dicom::pixel_representation);
    ensure(representation <= 1, name, ": damaged DICOM file (PixelRepresentation ", representation, ")");
    signed_ = representation == 1;
    read_padding(image);

    modality_table_ = read_dicom_table(image, dicom::modality_luts, signed_);
    if (!modality_table_) {
      slope_ = image.decimal(dicom::rescale_slope).value_or(1);
      intercept_ = image.decimal(dicom::rescale_intercept).value_or(0);
      ensure(slope_ != 0, name, ": RescaleSlope is 0");
    }
    const double least = std::min(modality(stored(lowest())), modality(stored(highest())));
    voi_table_ = read_dicom_table(image, dicom::voi_luts, !modality_table_ && least < 0);
    if (!voi_table_) window_ = read_dicom_window(image);
    inverse_ =
        image.text(dicom::photometric) == "MONOCHROME1" || image.text(dicom::presentation_shape) == "INVERSE";
  }

  [[nodiscard]] int stored_bits() const { return stored_bits_; }
  /// True where the values of the image decide what is black and white.
  [[nodiscard]] bool needs_range() const { return !voi_table_ && !window_; }

  /// The stored bits of a sample, as an unsigned number: an index below 2^stored_bits().
  [[nodiscard]] std::uint32_t index(std::uint32_t sample) const { return (sample >> shift_) & mask(); }

  /// True for the values that pad an image that is not a rectangle.
  [[nodiscard]] bool is_padding(std::uint32_t index) const {
    return padding_ && stored(index) >= padding_->first && stored(index) <= padding_->second;
  }

  /// The grey in [0, 1] of every stored value. `present` says for each whether the image has it, and is read
  /// where needs_range().
  [[nodiscard]] std::vector<float> greys(const std::vector<std::uint8_t>& present) const {
    const std::size_t count = std::size_t{1} << stored_bits_;
    std::pair<double, double> range{0, 1};
    if (needs_range()) range = range_of(present);
    std::vector<float> greys(count);
    for (std::size_t i = 0; i < count; ++i) {
      const double grey = voi(modality(stored(static_cast<std::uint32_t>(i))), range);
      greys[i] = static_cast<float>(inverse_ ? 1 - grey : grey);
    }
    return greys;
  }

 private:
  [[nodiscard]] std::uint32_t mask() const { return (1U << stored_bits_) - 1; }
  [[nodiscard]] std::uint32_t lowest() const { return signed_ ? 1U << (stored_bits_ - 1) : 0; }
  [[nodiscard]] std::uint32_t highest() const { return mask() ^ lowest(); }

  /// The stored value.
  [[nodiscard]] int stored(std::uint32_t index) const {
    const auto value = static_cast<int>(index);
    return signed_ && (index >> (stored_bits_ - 1)) != 0 ? value - (1 << stored_bits_) : value;
  }

  void read_padding(const DicomAttributes& image) {
    const auto value_of = [&](const DicomAttribute& attribute) -> std::optional<int> {
      const std::optional<int> value = image.number(attribute);
      return value && signed_ ? static_cast<std::int16_t>(*value) : value;
    };
    const std::optional<int> value = value_of(dicom::padding_value);
    if (!value) return;
    const int limit = value_of(dicom::padding_limit).value_or(*value);
    padding_ = std::minmax(*value, limit);
  }

  [[nodiscard]] double modality(int value) const {
    return modality_table_ ? modality_table_->at(value) : value * slope_ + intercept_;
  }

  [[nodiscard]] double voi(double value, const std::pair<double, double>& range) const {
    if (voi_table_) return static_cast<double>(voi_table_->at(value)) / ((1 << voi_table_->bits) - 1);
    if (window_) return (*window_)(value);
    if (!(range.first < range.second)) return 0;
    return std::clamp((value - range.first) / (range.second - range.first), 0.0, 1.0);
  }

  /// The least and the greatest value of the image's pixels, without padding unless there is nothing else.
  [[nodiscard]] std::pair<double, double> range_of(const std::vector<std::uint8_t>& present) const {
    for (const bool with_padding : {false, true}) {
      std::optional<std::pair<double, double>> range;
      for (std::size_t i = 0; i < present.size(); ++i) {
        const auto index = static_cast<std::uint32_t>(i);
        if (present[i] == 0 || (!with_padding && is_padding(index))) continue;
        const double value = modality(stored(index));
        if (!range) range = {value, value};
        range->first = std::min(range->first, value);
        range->second = std::max(range->second, value);
      }
      if (range) return *range;
    }
    return {0, 0};
  }

  int stored_bits_ = 0, shift_ = 0;
  bool signed_ = false;
  std::optional<std::pair<int, int>> padding_;
  std::optional<DicomTable> modality_table_, voi_table_;
  double slope_ = 1, intercept_ = 0;
  std::optional<DicomWindow> window_;
  bool inverse_ = false;
};

}  // namespace vlp::io::detail
