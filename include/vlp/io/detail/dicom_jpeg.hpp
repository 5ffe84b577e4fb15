/// \file
/// Frames of DICOM files that are compressed by JPEG, which DCMTK decodes.
///
/// DCMTK's decoders are called one by one, without its registry of codecs, its data dictionary and its log:
/// nothing that a program shares is touched, so that any number of threads may decode, beside others that use
/// DCMTK themselves.
#pragma once

#include <dcmtk/config/osconfig.h>
// DCMTK's other headers need what stands above.
#include <dcmtk/dcmjpeg/djcparam.h>
#include <dcmtk/dcmjpeg/djdijg12.h>
#include <dcmtk/dcmjpeg/djdijg16.h>
#include <dcmtk/dcmjpeg/djdijg8.h>

#include <vlp/core/errors.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace vlp::io::detail {

/// The size that a JPEG stream states.
struct JpegFrame {
  enum class Process { baseline = 0xC0, extended = 0xC1, lossless = 0xC3 };
  Process process = Process::baseline;
  int precision = 0;  ///< bits per sample
  int height = 0, width = 0, components = 0;
  int odd_scans = 0;  ///< scans with numbers that change nothing, and of which libjpeg warns
};

/// Walks over the markers of a stream (ITU-T T.81, annex B) up to its end, and throws for
/// whatever would make a decoder take more memory than such an image needs, or more passes over it than it
/// has components.
inline JpegFrame inspect_jpeg(std::string_view stream, const std::string& name) {
  const auto byte = [&](std::size_t i) { return static_cast<int>(static_cast<unsigned char>(stream[i])); };
  const auto word = [&](std::size_t i) { return byte(i) << 8 | byte(i + 1); };
  const auto damaged = [&](bool sound, const char* reason) {
    ensure(sound, name, ": damaged or truncated JPEG data of a DICOM file (", reason, ")");
  };
  damaged(stream.substr(0, 2) == "\xFF\xD8", "no start marker");
  JpegFrame frame;
  int frames = 0, scans = 0;
  for (std::size_t at = 2;;) {
    damaged(at + 2 <= stream.size(), "no end marker");
    damaged(byte(at) == 0xFF, "no marker where one must be");
    const int marker = byte(at + 1);
    if (marker == 0xD9) break;
    at += marker == 0xFF ? 1 : 2;
    if (marker == 0xFF) continue;  // a byte of padding
    damaged(at + 2 <= stream.size(), "a segment without length");
    const auto length = static_cast<std::size_t>(word(at));
    damaged(length >= 2 && length <= stream.size() - at, "a segment that is cut");
    const bool is_frame =
        (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC) ||
        marker == 0xF7;  // of JPEG-LS
    if (is_frame) {
      damaged(++frames == 1 && length >= 8, "a second frame, or one without size");
      frame.process = static_cast<JpegFrame::Process>(marker);
      frame.precision = byte(at + 2);
      frame.height = word(at + 3);
      frame.width = word(at + 5);
      frame.components = byte(at + 7);
    }
    if (marker == 0xDA && static_cast<int>(frame.process) < static_cast<int>(JpegFrame::Process::lossless)) {
      // Some encoders leave 0 what is always 63: the last coefficient of a scan.
      const std::size_t numbers = at + 3 + 2 * static_cast<std::size_t>(length > 2 ? byte(at + 2) : 0);
      damaged(numbers + 3 == at + length, "a scan of another length than its components");
      if (byte(numbers) != 0 || byte(numbers + 1) != 63 || byte(numbers + 2) != 0) ++frame.odd_scans;
    }
    at += length;
    if (marker != 0xDA) continue;
    damaged(frames == 1 && ++scans <= frame.components, "more scans than components");
    // Coded data go on to a marker that restarts nothing. The byte behind FF is below 80 where it is none.
    while (at + 2 <= stream.size() &&
           !(byte(at) == 0xFF && byte(at + 1) >= 0x80 && (byte(at + 1) & 0xF8) != 0xD0))
      ++at;
  }
  damaged(scans > 0, "no scan");
  return frame;
}

/// A decoder of DCMTK that counts what libjpeg warns of: mostly what it would mend by a guess.
template <class Decoder>
class StrictJpegDecoder : public Decoder {
 public:
  using Decoder::Decoder;
  void emitMessage(int level) const override { warnings_ += level < 0 ? 1 : 0; }
  [[nodiscard]] int warnings() const { return warnings_; }

 private:
  mutable int warnings_ = 0;
};

/// Decodes a stream of the kind that Decoder is for into `samples`, whose size is that of `frame`.
template <class Decoder>
void decode_jpeg(std::string_view stream, const JpegFrame& frame, std::string& samples,
                 const std::string& name) {
  const DJCodecParameter parameters(ECC_lossyYCbCr, EDC_never, EUC_never, EPC_colorByPixel);
  StrictJpegDecoder<Decoder> decoder(parameters, OFFalse);
  OFCondition outcome = decoder.init();
  if (outcome.good())
    outcome =
        decoder.decode(reinterpret_cast<Uint8*>(const_cast<char*>(stream.data())),  // which it only reads
                       static_cast<Uint32>(stream.size()), reinterpret_cast<Uint8*>(samples.data()),
                       static_cast<Uint32>(samples.size()), OFFalse);
  ensure(outcome != EJ_Suspension, name, ": truncated JPEG data of a DICOM file");
  ensure(outcome.good() && decoder.warnings() <= frame.odd_scans, name,
         ": damaged JPEG data of a DICOM file (",
         outcome.good() ? "they would have to be mended by a guess" : outcome.text(), ")");
}

}  // namespace vlp::io::detail
