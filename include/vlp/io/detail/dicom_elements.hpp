/// \file
/// The data elements of a DICOM file (PS3.5, chapter 7; PS3.10, chapter 7).
///
/// vlp walks over them itself, and gives DCMTK compressed pixels alone: DCMTK reads a sequence by recursion,
/// so that a small file of many nested ones would end the process, and it keeps all that a file holds.
#pragma once

#include <vlp/core/errors.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::io::detail {

/// Group and element number of a data element: 0xGGGGEEEE.
using DicomTag = std::uint32_t;

inline constexpr DicomTag dicom_pixel_data = 0x7FE00010;

/// The tag as the standard writes it: "(0028,0010)".
inline std::string dicom_tag_text(DicomTag tag) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "(%04X,%04X)", tag >> 16, tag & 0xFFFF);
  return text.data();
}

/// How data elements are encoded.
struct DicomEncoding {
  bool explicit_vr = true;
  bool big_endian = false;

  /// The unsigned number of the first two bytes.
  [[nodiscard]] std::uint16_t number16(std::string_view bytes) const {
    const auto at = [&](std::size_t i) {
      return static_cast<std::uint16_t>(static_cast<unsigned char>(bytes[i]));
    };
    return static_cast<std::uint16_t>(big_endian ? at(0) << 8 | at(1) : at(1) << 8 | at(0));
  }
  /// The unsigned number of the first four bytes.
  [[nodiscard]] std::uint32_t number32(std::string_view bytes) const {
    const std::uint32_t first = number16(bytes), second = number16(bytes.substr(2));
    return big_endian ? first << 16 | second : second << 16 | first;
  }
};

/// One data element, in the bytes of its file.
struct DicomElement {
  DicomTag tag = 0;
  std::string_view vr;  ///< value representation; empty where it is implicit
  /// The value as far as the file holds it. Where the length is undefined it goes on to the end of the bytes.
  std::string_view value;
  std::size_t begin = 0;     ///< where the value begins
  std::uint32_t length = 0;  ///< as the file has it
  bool undefined = false;    ///< The length is not given, and a delimiter ends the value.
};

/// Steps from one data element to the next. `bytes` are those of one data set, `name` begins messages.
class DicomWalker {
 public:
  static constexpr std::uint32_t undefined_length = 0xFFFFFFFF;
  static constexpr DicomTag item = 0xFFFEE000, item_end = 0xFFFEE00D, sequence_end = 0xFFFEE0DD;

  DicomWalker(std::string_view bytes, DicomEncoding encoding, const std::string& name)
      : bytes_(bytes), encoding_(encoding), name_(name) {}

  [[nodiscard]] std::size_t position() const { return at_; }
  [[nodiscard]] const DicomEncoding& encoding() const { return encoding_; }

  /// The next element's tag, or nothing at the end of the bytes.
  [[nodiscard]] std::optional<DicomTag> peek() const {
    if (at_ == bytes_.size()) return {};
    ensure(bytes_.size() - at_ >= 4, name_, ": truncated DICOM file (it ends within a tag)");
    return tag_at(at_);
  }

  /// Reads the next element, and steps over its value unless its length is undefined. A value that the bytes
  /// do not hold whole is an error, except that of the pixel data, which are the last to be read.
  DicomElement next() {
    DicomElement element = header();
    if (element.undefined) return element;
    const bool whole = element.length <= bytes_.size() - at_;
    ensure(whole || element.tag == dicom_pixel_data, name_, ": truncated DICOM file (", element.length,
           " bytes of ", dicom_tag_text(element.tag), ", but ", bytes_.size() - at_, " are left)");
    if (whole) element.value = element.value.substr(0, element.length);
    at_ += element.value.size();
    return element;
  }

  /// Steps over the value of undefined length of the element just read, which is a sequence of items. Time is
  /// in proportion to its bytes, whatever it nests.
  void skip_sequence(const DicomElement& sequence) {
    struct Level {
      bool in_item;      ///< whether elements come next, or items
      bool explicit_vr;  ///< as before it, to go back to
    };
    constexpr std::size_t deepest = 64;
    std::vector<Level> levels{{false, encoding_.explicit_vr}};
    // A sequence whose representation was not known is encoded without any (PS3.5, 6.2.2).
    if (sequence.vr == "UN") encoding_.explicit_vr = false;
    while (!levels.empty()) {
      const DicomElement element = levels.back().in_item ? next() : header();
      const DicomTag end = levels.back().in_item ? item_end : sequence_end;
      if (element.tag == end) {
        encoding_.explicit_vr = levels.back().explicit_vr;
        levels.pop_back();
        continue;
      }
      const bool is_item = element.tag == item;
      ensure(levels.back().in_item ? element.tag >> 16 != item >> 16 : is_item, name_,
             ": damaged DICOM file (", dicom_tag_text(element.tag), " within the sequence ",
             dicom_tag_text(sequence.tag), ")");
      if (is_item && !element.undefined) skip(element.length);
      if (!element.undefined) continue;
      ensure(levels.size() < deepest, name_, ": a DICOM file whose sequences are nested more than ",
             deepest / 2, " deep");
      levels.push_back({is_item, encoding_.explicit_vr});
      if (element.vr == "UN") encoding_.explicit_vr = false;
    }
  }

  /// Reads the next item of a sequence: of pixel data its fragment, of others its elements. Nothing at its
  /// end.
  std::optional<std::string_view> next_item() {
    if (at_ == bytes_.size()) return {};
    const DicomElement element = header();
    if (element.tag == sequence_end) return {};
    ensure(element.tag == item, name_, ": damaged DICOM file (", dicom_tag_text(element.tag),
           " between items)");
    if (element.undefined) return element.value;
    skip(element.length);
    return element.value.substr(0, element.length);
  }

 private:
  [[nodiscard]] DicomTag tag_at(std::size_t at) const {
    return static_cast<DicomTag>(encoding_.number16(bytes_.substr(at))) << 16 |
           encoding_.number16(bytes_.substr(at + 2));
  }

  void skip(std::uint32_t length) {
    ensure(length <= bytes_.size() - at_, name_, ": truncated DICOM file (", length, " bytes, but ",
           bytes_.size() - at_, " are left)");
    at_ += length;
  }

  /// True for a value representation whose length takes two bytes; later ones of the standard take four.
  static bool is_short(std::string_view vr) {
    static constexpr std::string_view all = "AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US";
    const std::size_t at = all.find(vr);
    return at != std::string_view::npos && at % 3 == 0;
  }

  /// Reads tag, value representation and length, up to the value.
  DicomElement header() {
    const auto needs = [&](std::size_t count) {
      ensure(bytes_.size() - at_ >= count, name_, ": truncated DICOM file (it ends within a data element)");
    };
    const auto take = [&](std::size_t count) {
      const std::string_view taken = bytes_.substr(at_, count);
      at_ += count;
      return taken;
    };
    needs(8);
    DicomElement element;
    element.tag = tag_at(at_);
    at_ += 4;
    if (encoding_.explicit_vr && element.tag >> 16 != item >> 16) {
      element.vr = take(2);
      const auto is_letter = [](char c) { return c >= 'A' && c <= 'Z'; };
      ensure(is_letter(element.vr[0]) && is_letter(element.vr[1]), name_, ": damaged DICOM file (",
             dicom_tag_text(element.tag), " has no value representation)");
      if (is_short(element.vr)) {
        element.length = encoding_.number16(take(2));
      } else {
        needs(6);
        element.length = encoding_.number32(take(6).substr(2));
      }
    } else {
      element.length = encoding_.number32(take(4));
    }
    element.undefined = element.length == undefined_length;
    element.begin = at_;
    element.value = bytes_.substr(at_);
    return element;
  }

  std::string_view bytes_;
  std::size_t at_ = 0;
  DicomEncoding encoding_;
  const std::string& name_;
};

}  // namespace vlp::io::detail
