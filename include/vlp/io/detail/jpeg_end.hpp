/// \file
/// Whether a JPEG file is all there.
#pragma once

#include <cstddef>
#include <string_view>

namespace vlp::io::detail {

/// True when the segments of a JPEG file (ITU-T T.81, annex B) lead to its end-of-image marker. Segments are
/// stepped over by their length, so the end marker of a thumbnail within one does not count.
inline bool has_jpeg_end(std::string_view bytes) {
  const auto byte = [bytes](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  std::size_t at = 2;  // after the start-of-image marker
  while (at + 1 < bytes.size()) {
    const unsigned char marker = byte(at + 1);
    const bool is_data = byte(at) != 0xFF || marker == 0x00;   // coded data between markers, or a coded 0xFF
    const bool is_restart = marker >= 0xD0 && marker <= 0xD7;  // within coded data, no length
    if (is_data || marker == 0xFF) {                           // 0xFF before a marker is a fill byte
      ++at;
    } else if (is_restart || marker == 0x01) {
      at += 2;
    } else if (marker == 0xD9) {
      return true;
    } else if (at + 3 < bytes.size()) {
      at += 2 + (static_cast<std::size_t>(byte(at + 2)) << 8 | byte(at + 3));
    } else {
      return false;
    }
  }
  return false;
}

}  // namespace vlp::io::detail
