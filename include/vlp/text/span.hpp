/// \file
/// Half-open ranges of bytes, tokens or words.
#pragma once

#include <cstdint>
#include <string_view>

namespace vlp::text {

/// The half-open range [begin, end): of bytes in a text, or of words in a report.
struct Span {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;

  [[nodiscard]] constexpr std::uint32_t size() const noexcept { return end - begin; }
  friend constexpr bool operator==(const Span&, const Span&) = default;
};

/// The bytes of `text` that `span` covers.
[[nodiscard]] constexpr std::string_view slice(std::string_view text, Span span) noexcept {
  return {text.data() + span.begin, span.size()};
}

}  // namespace vlp::text
