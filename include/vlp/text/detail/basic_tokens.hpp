/// \file
/// BERT's basic tokenisation (uncased), whose tokens are cut into word pieces.
#pragma once

#include <vlp/text/detail/unicode.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::text::detail {

/// Code points that BERT drops: controls, formats, private use, U+FFFD.
[[nodiscard]] inline bool is_dropped(CodePoint c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  if (c == replacement_character) return true;
  switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
      return true;
    default:
      return false;
  }
}

/// The white space that separates words for BERT: tab, line ends, and white space that is no control
/// character.
[[nodiscard]] inline bool is_bert_space(CodePoint c) {
  return !is_dropped(c) && is_white_space(c);
}

[[nodiscard]] inline bool is_bert_punctuation(CodePoint c) {
  if (c < 0x80) return is_ascii_punctuation(c);
  const auto category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

/// The blocks of Chinese characters, each of which BERT takes as a word.
[[nodiscard]] constexpr bool is_chinese(CodePoint c) {
  return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
         (c >= 0x2a700 && c <= 0x2b73f) || (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b820 && c <= 0x2ceaf) ||
         (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

/// Appends the canonical decomposition (NFD) of `c` to `out`, without ordering its marks.
inline void decompose(CodePoint c, std::pmr::vector<CodePoint>& out) {
  CodePoint buffer[32];
  int boundary = 0;
  const auto count = utf8proc_decompose_char(c, buffer, 32, UTF8PROC_DECOMPOSE, &boundary);
  if (count < 0 || count > 32)
    out.push_back(c);
  else
    out.insert(out.end(), buffer, buffer + count);
}

/// Puts each run of combining marks into canonical order.
inline void order_marks(std::pmr::vector<CodePoint>& text) {
  const auto combining = [](CodePoint c) { return utf8proc_get_property(c)->combining_class; };
  for (auto at = text.begin(); at != text.end();) {
    const auto begin = std::find_if(at, text.end(), [&](CodePoint c) { return combining(c) != 0; });
    at = std::find_if(begin, text.end(), [&](CodePoint c) { return combining(c) == 0; });
    std::stable_sort(begin, at, [&](CodePoint a, CodePoint b) { return combining(a) < combining(b); });
  }
}

/// Scratch memory for one word. It lies on the stack for words of up to some 60 characters, which is all but
/// a few.
class TokenScratch {
 public:
  TokenScratch() {
    token.reserve(256);
    clean.reserve(64);
    decomposed.reserve(128);
  }
  TokenScratch(const TokenScratch&) = delete;
  TokenScratch& operator=(const TokenScratch&) = delete;

 private:
  alignas(std::max_align_t) std::array<std::byte, 1280> bytes_;
  std::pmr::monotonic_buffer_resource memory_{bytes_.data(), bytes_.size()};

 public:
  std::pmr::string token{&memory_};
  std::pmr::vector<CodePoint> clean{&memory_}, decomposed{&memory_};
};

/// Calls `use(token)` for each basic token of one word, which has no white space: with the dropped code
/// points gone, accents stripped (NFD without nonspacing marks), lower-cased, and split at punctuation and
/// Chinese characters.
template <class Use>
void for_each_token_of_word(std::string_view word, TokenScratch& scratch, Use&& use) {
  std::pmr::string& token = scratch.token;
  std::pmr::vector<CodePoint>&clean = scratch.clean, &decomposed = scratch.decomposed;
  const auto flush = [&] {
    if (!token.empty()) use(std::string_view(token));
    token.clear();
  };
  token.clear();
  if (std::all_of(word.begin(), word.end(), [](char c) { return c > 32 && c < 127; })) {
    for (const char c : word) {
      const bool alone = is_ascii_punctuation(c);
      if (alone) flush();
      token.push_back(ascii_lower(c));
      if (alone) flush();
    }
    return flush();
  }
  clean.clear();
  decomposed.clear();
  for (std::size_t at = 0; at < word.size();) {
    const auto [c, length] = decode(word, at);
    at += length;
    if (is_dropped(c)) continue;
    if (is_chinese(c)) {
      clean.insert(clean.end(), {' ', c, ' '});  // the spaces separate it from its neighbours
    } else {
      clean.push_back(c);
    }
  }
  for (const CodePoint c : clean) decompose(c, decomposed);
  order_marks(decomposed);
  for (const CodePoint c : decomposed) {
    if (utf8proc_category(c) == UTF8PROC_CATEGORY_MN) continue;
    const bool alone = is_bert_punctuation(c);
    if (alone || c == ' ') flush();
    if (c != ' ') append(token, utf8proc_tolower(c));
    if (alone) flush();
  }
  flush();
}

/// Calls `use(token, word)` for each basic token of `text` in order; `word` counts the words between white
/// space from 0 (a word of dropped code points has no token, but counts).
template <class Use>
void for_each_basic_token(std::string_view text, Use&& use) {
  TokenScratch scratch;
  std::int32_t word = 0;
  const auto use_word = [&](std::size_t begin, std::size_t end) {
    if (begin == end) return;
    for_each_token_of_word(text.substr(begin, end - begin), scratch,
                           [&](std::string_view t) { use(t, word); });
    ++word;
  };
  std::size_t begin = 0, at = 0;
  while (at < text.size()) {
    const auto [c, length] = decode(text, at);
    if ((c <= 32 || c >= 0x80) && is_bert_space(c)) {
      use_word(begin, at);
      begin = at + length;
    }
    at += length;
  }
  use_word(begin, at);
}

}  // namespace vlp::text::detail
