/// \file
/// Joining of words to a text, the inner loop of every perturbation.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/text/span.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::text::detail {

/// Replaces `joined` by the words words[order[0]], words[order[1]], ... of `text`, one space between two, and
/// `spans` by their places in it. Throws std::invalid_argument if that takes 4 GiB or more.
///
/// Most words are short, and a copy of 16 bytes, known when compiling, is several times as fast as one of
/// exactly as many as the word has; the next word or the final resize replaces the bytes that it writes too
/// many.
inline void join_words(std::string_view text, std::span<const Span> words,
                       std::span<const std::uint32_t> order, std::string& joined, std::vector<Span>& spans) {
  constexpr std::size_t block = 16;
  std::size_t size = order.empty() ? 0 : order.size() - 1;
  for (const std::uint32_t i : order) size += words[i].size();
  require(size <= std::numeric_limits<std::uint32_t>::max(), "perturbation: the words take ", size,
          " bytes, 4 GiB or more");
  joined.resize(size + block);
  spans.resize(order.size());
  std::size_t at = 0;
  for (std::size_t position = 0; position < order.size(); ++position) {
    if (position > 0) joined[at++] = ' ';
    const Span word = words[order[position]];
    if (word.size() <= block && word.begin + block <= text.size())
      std::memcpy(joined.data() + at, text.data() + word.begin, block);
    else if (word.size() > 0)
      std::memcpy(joined.data() + at, text.data() + word.begin, word.size());
    spans[position] = {static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(at + word.size())};
    at += word.size();
  }
  joined.resize(size);
}

}  // namespace vlp::text::detail
