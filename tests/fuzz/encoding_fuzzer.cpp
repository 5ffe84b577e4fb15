// libFuzzer target: any bytes as the text of a file, its lines, and its character references.
#include "fuzzer.hpp"

#include <utf8proc.h>

#include <vlp/core/text_encoding.hpp>
#include <vlp/io/entities.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace {

using vlp::fuzz::promise;

/// Whether another library reads every byte of `text` as UTF-8, and none is zero.
bool is_plain_text(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    utf8proc_int32_t code_point = 0;
    const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                                         static_cast<utf8proc_ssize_t>(text.size() - at), &code_point);
    if (length <= 0 || code_point == 0) return false;
    at += static_cast<std::size_t>(length);
  }
  return true;
}

void check_lines(std::string_view text) {
  std::string joined;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = vlp::next_line(rest);
    const std::string_view end = line.substr(vlp::without_line_end(line).size());
    promise(vlp::without_line_end(line).find_first_of("\r\n") == line.npos, "no line end within a line");
    promise(end == "\n" || end == "\r" || end == "\r\n" || (end.empty() && rest.empty()), "lines end");
    joined += line;
  }
  promise(joined == text, "lines cover the text");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = vlp::fuzz::text_of(data, size);
  const bool was_read = vlp::fuzz::reads([&] {
    const std::string_view text = vlp::utf8_text(bytes, "a.txt");
    promise(text.size() == bytes.size() || text.size() + 3 == bytes.size(), "only a mark is removed");
    promise(vlp::utf8_text(bytes, "a.txt", 2) == bytes, "a later piece is taken as it is");
  });
  promise(was_read == is_plain_text(bytes), "text is taken if it is UTF-8 without zeros");
  check_lines(bytes);
  const std::string_view trimmed = vlp::trimmed(bytes);
  promise(vlp::trimmed(trimmed) == trimmed, "trimming twice changes nothing");
  const std::string decoded = vlp::io::decode_entities(bytes);
  promise(decoded.size() <= bytes.size(), "a character is no longer than its reference");
  if (was_read) promise(is_plain_text(decoded), "decoded text is text");
  return 0;
}
