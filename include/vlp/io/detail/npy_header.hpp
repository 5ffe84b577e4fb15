/// \file
/// The header of a .npy file: a magic string, a version, a length and a Python dictionary literal such as
/// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/detail/byte_size.hpp>

#include <bit>
#include <cctype>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::io::detail {

inline constexpr std::string_view npy_magic = "\x93NUMPY";
inline constexpr std::size_t max_npy_dimensions = 64;  // NumPy's own limit

struct NpyHeader {
  std::string dtype;          // without the byte order: "f8"
  bool byte_swapped = false;  // the file's byte order is not this machine's
  bool fortran_order = false;
  std::vector<Index> shape;
  std::size_t length = 0;  // where the elements begin
};

/// Reads the dictionary literal; every error names the file.
class NpyDictionary {
 public:
  NpyDictionary(std::string_view text, const std::string& path) : text_(text), path_(path) {}

  NpyHeader parse() {
    NpyHeader header;
    bool has_descr = false, has_order = false, has_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr") {
        has_descr = true;
        parse_descr(header);
      } else if (key == "fortran_order") {
        has_order = true;
        header.fortran_order = boolean();
      } else if (key == "shape") {
        has_shape = true;
        header.shape = tuple();
      } else {
        fail(concat("unknown key '", key, "'"));
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (!has_descr || !has_order || !has_shape) fail("descr, fortran_order or shape is missing");
    return header;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error(printable(concat(path_, ": not a readable .npy header: ", what)));
  }
  void skip_space() {
    while (!text_.empty() && std::isspace(static_cast<unsigned char>(text_.front()))) text_.remove_prefix(1);
  }
  bool accept(char c) {
    skip_space();
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(concat("'", c, "' expected"));
  }
  std::string string() {
    skip_space();
    const char quote = text_.empty() ? '\0' : text_.front();
    const std::size_t end = quote == '\'' || quote == '"' ? text_.find(quote, 1) : std::string_view::npos;
    if (end == std::string_view::npos) fail("a quoted name expected (arrays of records are not supported)");
    std::string out(text_.substr(1, end - 1));
    text_.remove_prefix(end + 1);
    return out;
  }
  bool boolean() {
    skip_space();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(0, word.size()) != word) continue;
      text_.remove_prefix(word.size());
      return value;
    }
    fail("True or False expected");
  }
  std::vector<Index> tuple() {
    std::vector<Index> out;
    expect('(');
    while (!accept(')')) {
      skip_space();
      Index extent = 0;
      const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), extent);
      if (error != std::errc() || extent < 0) fail("the shape is not a tuple of sizes");
      text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
      accept('L');  // as Python 2 wrote long integers
      if (out.size() == max_npy_dimensions)
        fail(concat("the shape has more than ", max_npy_dimensions, " dimensions"));
      out.push_back(extent);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return out;
  }
  void parse_descr(NpyHeader& header) {
    const std::string descr = string();
    static constexpr std::string_view known[] = {"f4", "f8", "i1", "i2", "i4", "i8",
                                                 "u1", "u2", "u4", "u8", "b1"};
    const std::size_t order = descr.find_first_of("<>=|") == 0 ? 1 : 0;
    header.dtype = descr.substr(order);
    bool is_known = false;
    for (std::string_view name : known) is_known |= name == header.dtype;
    if (!is_known) fail(concat("elements of type '", descr, "' are not supported"));
    constexpr char foreign = std::endian::native == std::endian::little ? '>' : '<';
    header.byte_swapped = descr[0] == foreign;
  }

  std::string_view text_;
  const std::string& path_;
};

/// Reads and checks the header of the file contents `file`, its length included: shape times element size is
/// what follows the header, to the byte.
inline NpyHeader parse_npy_header(std::string_view file, const std::string& path) {
  ensure(file.substr(0, npy_magic.size()) == npy_magic, path, ": not a .npy file (it does not begin as one)");
  ensure(file.size() >= 10, path, ": truncated .npy file (", file.size(), " bytes)");
  const auto byte = [&](std::size_t i) {
    return static_cast<std::size_t>(static_cast<unsigned char>(file[i]));
  };
  const std::size_t version = byte(6);
  ensure(version >= 1 && version <= 3, path, ": .npy version ", version, " is not supported (1 to 3 are)");
  const std::size_t begin = version == 1 ? 10 : 12;
  ensure(file.size() >= begin, path, ": truncated .npy file (", file.size(), " bytes)");
  std::size_t length = byte(8) | byte(9) << 8;
  if (version > 1) length |= byte(10) << 16 | byte(11) << 24;
  ensure(file.size() - begin >= length, path, ": truncated .npy file (", file.size(), " bytes, of which ",
         begin + length, " should be header)");
  NpyHeader header = NpyDictionary(file.substr(begin, length), path).parse();
  header.length = begin + length;

  const std::size_t have = file.size() - header.length;
  const auto size = byte_size(static_cast<std::size_t>(header.dtype[1] - '0'), header.shape);
  ensure(size.has_value(), path, ": the shape in the .npy header overflows");
  const std::uint64_t expected = *size;
  ensure(have >= expected, path, ": truncated .npy file (", have, " of ", expected, " bytes of elements)");
  ensure(have <= expected, path, ": ", have - expected, " bytes follow the ", expected, " of the array");
  return header;
}

/// A version 1 header of at most max_npy_dimensions, padded so that the elements begin at a multiple of 64
/// bytes.
inline std::string make_npy_header(const std::string& dtype, std::span<const Index> shape) {
  const char order = dtype[1] == '1' ? '|' : std::endian::native == std::endian::little ? '<' : '>';
  std::string text = concat("{'descr': '", order, dtype, "', 'fortran_order': False, 'shape': (");
  for (Index extent : shape) text += concat(extent, ",");
  text += "), }";
  const std::size_t unpadded = npy_magic.size() + 4 + text.size() + 1;
  text.append((64 - unpadded % 64) % 64, ' ').push_back('\n');
  std::string out(npy_magic);
  out += {'\1', '\0', static_cast<char>(text.size() & 0xFF), static_cast<char>(text.size() >> 8)};
  return out + text;
}

}  // namespace vlp::io::detail
