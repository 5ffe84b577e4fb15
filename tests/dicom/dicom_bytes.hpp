/// \file
/// DICOM files made of their elements, in forms that DCMTK would not write too.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::test {

inline constexpr const char* implicit_little = "1.2.840.10008.1.2";
inline constexpr const char* explicit_little = "1.2.840.10008.1.2.1";
inline constexpr const char* explicit_big = "1.2.840.10008.1.2.2";
inline constexpr const char* rle_lossless = "1.2.840.10008.1.2.5";

/// Writes data elements, as a transfer syntax has them.
class DicomWriter {
 public:
  explicit DicomWriter(std::string_view syntax)
      : explicit_(syntax != implicit_little), big_(syntax == explicit_big) {}

  [[nodiscard]] std::string number(std::uint32_t value, int bytes) const {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> 8 * (big_ ? bytes - 1 - i : i) & 0xFF);
    return out;
  }
  [[nodiscard]] std::string words(const std::vector<int>& values) const {
    std::string out;
    for (const int value : values) out += number(static_cast<std::uint32_t>(value), 2);
    return out;
  }
  /// A tag and a length, as of an item.
  [[nodiscard]] std::string item_header(std::uint32_t tag, std::uint32_t length) const {
    return number(tag >> 16, 2) + number(tag & 0xFFFF, 2) + number(length, 4);
  }
  [[nodiscard]] std::string header(std::uint32_t tag, const std::string& vr, std::uint32_t length) const {
    if (!explicit_) return item_header(tag, length);
    const bool is_long = std::string_view("OB OW OF OD SQ UN UT").find(vr) != std::string_view::npos;
    return number(tag >> 16, 2) + number(tag & 0xFFFF, 2) + vr +
           (is_long ? std::string(2, '\0') + number(length, 4) : number(length, 2));
  }
  /// An element, whose value is made even by a blank or a zero.
  [[nodiscard]] std::string element(std::uint32_t tag, const std::string& vr, std::string value) const {
    if (value.size() % 2 != 0) value += vr[0] == 'O' || vr == "UI" || vr == "UN" ? '\0' : ' ';
    return header(tag, vr, static_cast<std::uint32_t>(value.size())) + value;
  }
  [[nodiscard]] std::string us(std::uint32_t tag, int value) const {
    return element(tag, "US", number(static_cast<std::uint32_t>(value), 2));
  }
  /// Items, and a sequence, of given or undefined length.
  [[nodiscard]] std::string item(const std::string& elements, bool undefined = false) const {
    if (undefined) return item_header(0xFFFEE000, 0xFFFFFFFF) + elements + item_header(0xFFFEE00D, 0);
    return item_header(0xFFFEE000, static_cast<std::uint32_t>(elements.size())) + elements;
  }
  [[nodiscard]] std::string sequence(std::uint32_t tag, const std::string& items,
                                     bool undefined = false) const {
    if (undefined) return header(tag, "SQ", 0xFFFFFFFF) + items + item_header(0xFFFEE0DD, 0);
    return header(tag, "SQ", static_cast<std::uint32_t>(items.size())) + items;
  }
  /// An item that holds a lookup table.
  [[nodiscard]] std::string table(int first, int bits, const std::vector<int>& entries) const {
    const std::string vr = first < 0 ? "SS" : "US";
    return element(0x00283002, vr, words({static_cast<int>(entries.size()), first, bits})) +
           element(0x00283006, "OW", words(entries));
  }

 private:
  bool explicit_, big_;
};

/// An image and the attributes that say what its pixels mean.
struct DicomFile {
  int width = 0, height = 0;
  std::string pixels = {};  ///< value of PixelData
  int allocated = 16, stored = 16, high = -1, representation = 0, channels = 1;
  int planar = -1;  ///< PlanarConfiguration, if there is one
  std::string photometric = "MONOCHROME2";
  std::string more = {};     ///< elements behind these
  std::string missing = {};  ///< names of attributes to leave out
  std::string syntax = explicit_little;
  bool fragments = false;     ///< Pixels are a list of items.
  std::string pixel_vr = {};  ///< of uncompressed pixels; empty for what their bits ask for

  [[nodiscard]] DicomWriter writer() const { return DicomWriter(syntax); }

  /// The data set behind the meta information.
  [[nodiscard]] std::string data() const {
    const DicomWriter w = writer();
    const auto unless_missing = [&](const char* name, const std::string& element) {
      return missing.find(name) == std::string::npos ? element : std::string();
    };
    std::string out =
        w.element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.7") + w.element(0x00080018, "UI", "2.25.1") +
        unless_missing("SamplesPerPixel", w.us(0x00280002, channels)) +
        unless_missing("PhotometricInterpretation", w.element(0x00280004, "CS", photometric)) +
        (planar < 0 ? "" : w.us(0x00280006, planar)) + unless_missing("Rows", w.us(0x00280010, height)) +
        unless_missing("Columns", w.us(0x00280011, width)) +
        unless_missing("BitsAllocated", w.us(0x00280100, allocated)) +
        unless_missing("BitsStored", w.us(0x00280101, stored)) +
        unless_missing("HighBit", w.us(0x00280102, high < 0 ? stored - 1 : high)) +
        unless_missing("PixelRepresentation", w.us(0x00280103, representation)) + more;
    if (fragments)
      out += w.header(0x7FE00010, "OB", 0xFFFFFFFF) + pixels + w.item_header(0xFFFEE0DD, 0);
    else
      out += unless_missing("PixelData", w.element(0x7FE00010,
                                                   !pixel_vr.empty() ? pixel_vr
                                                   : allocated == 16 ? "OW"
                                                                     : "OB",
                                                   pixels));
    return out;
  }

  [[nodiscard]] std::string meta() const {
    const DicomWriter w(explicit_little);
    const std::string elements = w.element(0x00020010, "UI", syntax);
    return std::string(128, '\0') + "DICM" +
           w.element(0x00020000, "UL", w.number(static_cast<std::uint32_t>(elements.size()), 4)) + elements;
  }

  [[nodiscard]] std::string bytes() const { return meta() + data(); }
};

}  // namespace vlp::test
