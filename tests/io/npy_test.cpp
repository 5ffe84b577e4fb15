#include "support/grouping_locale.hpp"
#include "support/temporary_folder.hpp"

#include <rapidcheck.h>

#include <vlp/io/npy.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::io;
using vlp::test::TemporaryFolder;

/// A file of version `version` with the given header text, unpadded, and elements.
std::string npy_file(const std::string& header, const std::string& elements, int version = 1) {
  std::string out = "\x93NUMPY";
  out += {static_cast<char>(version), '\0', static_cast<char>(header.size() & 0xFF),
          static_cast<char>(header.size() >> 8)};
  if (version > 1) out += std::string(2, '\0');
  return out + header + elements;
}

std::string header_of(const std::string& descr, const std::string& shape, bool fortran = false) {
  return "{'descr': '" + descr + "', 'fortran_order': " + (fortran ? "True" : "False") +
         ", 'shape': " + shape + ", }\n";
}

template <class T>
void check_round_trip(const TemporaryFolder& folder, const std::vector<T>& values,
                      const std::vector<Index>& shape) {
  const Path path = folder / "array.npy";
  write_npy(path, values, shape);
  const NpyArray array = read_npy(path);
  CHECK(array.shape == shape);
  CHECK(array.as<T>() == values);
  // The elements begin where NumPy and a memory map want them.
  CHECK((read_file(path).size() - values.size() * sizeof(T)) % 64 == 0);
}

TEST_CASE("arrays of every number type come back as written") {
  const TemporaryFolder folder;
  check_round_trip<float>(folder, {1.5F, -2, 3e30F, 0, 5, 6}, {2, 3});
  check_round_trip<double>(folder, {0.1}, {});
  check_round_trip<std::int8_t>(folder, {-128, 127}, {2});
  check_round_trip<std::uint8_t>(folder, {0, 255}, {2, 1});
  check_round_trip<std::int16_t>(folder, {-32768}, {1});
  check_round_trip<std::uint16_t>(folder, {65535}, {1});
  check_round_trip<std::int32_t>(folder, {std::numeric_limits<std::int32_t>::min(), 7}, {1, 2, 1});
  check_round_trip<std::uint32_t>(folder, {4'000'000'000U}, {1});
  check_round_trip<std::int64_t>(folder, {std::numeric_limits<std::int64_t>::max()}, {1});
  check_round_trip<std::uint64_t>(folder, {std::numeric_limits<std::uint64_t>::max()}, {1});
  check_round_trip<float>(folder, {}, {0});
  check_round_trip<float>(folder, {}, {3, 0, 2});
}

TEST_CASE("what NumPy writes is read") {
  const TemporaryFolder folder;
  const NpyArray image = read_npy(Path(VLP_TEST_GOLDEN_DIR) / "info_nce/square/image.npy");
  CHECK(image.dtype == "f8");
  CHECK(image.shape.size() == 2);
  CHECK(image.as<double>().size() == static_cast<std::size_t>(image.size()));
  const std::string two = std::string("\x01\x00\x00\x00", 4) + std::string("\x02\x00\x00\x00", 4);
  for (int version : {1, 2, 3}) {
    folder.write("a.npy", npy_file(header_of("<i4", "(2,)"), two, version));
    CHECK(read_npy(folder / "a.npy").as<int>() == std::vector<int>{1, 2});
  }
  // Another order of keys, double quotes, Python 2's long integers, no final comma.
  folder.write("a.npy", npy_file("{\"shape\": (1L, 2L), \"descr\": \"<i4\", \"fortran_order\": False}", two));
  CHECK(read_npy(folder / "a.npy").shape == std::vector<Index>{1, 2});
  folder.write("a.npy", npy_file(header_of("|b1", "(3,)"), std::string("\1\0\1", 3)));
  CHECK(read_npy(folder / "a.npy").as<float>() == std::vector<float>{1, 0, 1});
}

TEST_CASE("big-endian and column-major arrays are turned round") {
  const TemporaryFolder folder;
  folder.write("a.npy", npy_file(header_of(">i2", "(2,)"), std::string("\x01\x02\xFF\xFE", 4)));
  CHECK(read_npy(folder / "a.npy").as<int>() == std::vector<int>{0x0102, -2});
  std::string elements(24, '\0');
  std::iota(elements.begin(), elements.end(), '\0');
  folder.write("a.npy", npy_file(header_of("|u1", "(2, 3, 4)", true), elements));
  const std::vector<int> values = read_npy(folder / "a.npy").as<int>();
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 4; ++k)
        CHECK(values[static_cast<std::size_t>((i * 3 + j) * 4 + k)] == i + 2 * j + 6 * k);
  folder.write("a.npy", npy_file(header_of("|u1", "(0, 3)", true), ""));
  CHECK(read_npy(folder / "a.npy").as<int>().empty());
}

TEST_CASE("a view is written whatever its strides") {
  const TemporaryFolder folder;
  std::vector<double> values(24);
  std::iota(values.begin(), values.end(), 0.0);
  const View<const double, 3> whole(values.data(), {2, 3, 4});
  write_npy(folder / "a.npy", whole);
  CHECK(read_npy(folder / "a.npy").as<double>() == values);
  const View<const double, 3> part(values.data(), {2, 2, 3}, {12, 4, 1});
  write_npy(folder / "a.npy", part);
  CHECK(read_npy(folder / "a.npy").shape == std::vector<Index>{2, 2, 3});
  CHECK(read_npy(folder / "a.npy").as<int>() == std::vector<int>{0, 1, 2, 4, 5, 6, 12, 13, 14, 16, 17, 18});
}

TEST_CASE("a conversion that would change a number is refused") {
  const TemporaryFolder folder;
  const auto reading = [&](auto values) {
    write_npy(folder / "a.npy", values, {static_cast<Index>(values.size())});
    return read_npy(folder / "a.npy");
  };
  CHECK(reading(std::vector<double>{-3, 4}).as<std::int64_t>() == std::vector<std::int64_t>{-3, 4});
  CHECK_MESSAGE_HAS(reading(std::vector<double>{1, 1.5}).as<int>(), "a.npy", "element 1", "1.5", "i4");
  CHECK_MESSAGE_HAS(reading(std::vector<double>{std::nan("")}).as<int>(), "element 0");
  CHECK_MESSAGE_HAS(reading(std::vector<float>{0x1p63F}).as<std::int64_t>(), "element 0");
  CHECK(reading(std::vector<float>{-0x1p63F}).as<std::int64_t>().at(0) == std::numeric_limits<Index>::min());
  CHECK_MESSAGE_HAS(reading(std::vector<int>{-1}).as<std::uint8_t>(), "element 0, -1", "u1");
  CHECK_MESSAGE_HAS(reading(std::vector<int>{256}).as<std::uint8_t>(), "element 0, 256");
}

TEST_CASE("malformed .npy files are refused by name") {
  const TemporaryFolder folder;
  const auto reading = [&](const std::string& bytes) { return read_npy(folder.write("bad.npy", bytes)); };
  const std::string file = (folder / "bad.npy").string();
  const std::string four(4, '\0');
  CHECK_MESSAGE_HAS(read_npy(folder / "none.npy"), "none.npy", "No such file");
  CHECK_MESSAGE_HAS(reading(""), file, "not a .npy file");
  CHECK_MESSAGE_HAS(reading("PK\3\4 an .npz archive"), file, "not a .npy file");
  CHECK_MESSAGE_HAS(reading(npy_file(header_of("<f4", "(1,)"), four, 4)), file, "version 4");
  CHECK_MESSAGE_HAS(reading(npy_file(header_of("<f4", "(2,)"), four)), file, "truncated", "4 of 8 bytes");
  CHECK_MESSAGE_HAS(reading(npy_file(header_of("<f4", "(1,)"), four + "x")), file, "1 bytes follow");
  CHECK_MESSAGE_HAS(reading(npy_file(header_of("<f2", "(2,)"), four)), file, "'<f2' are not supported");
  CHECK_MESSAGE_HAS(reading(npy_file(header_of("|O", "(2,)"), four)), file, "'|O' are not supported");
  CHECK_MESSAGE_HAS(reading(npy_file("{'descr': [('a', '<f4')], 'shape': (1,)}", four)), file, "records");
  CHECK_MESSAGE_HAS(reading(npy_file(header_of("<f4", "(-1,)"), four)), file, "shape");
  CHECK_MESSAGE_HAS(reading(npy_file(header_of("<f4", "(1.0,)"), four)), file, "expected");
  CHECK_MESSAGE_HAS(reading(npy_file(header_of("<f4", "(9223372036854775807, 9)"), four)), file, "overflows");
  CHECK_MESSAGE_HAS(reading(npy_file("{'descr': '<f4', 'shape': (1,)}", four)), file, "missing");
  CHECK_MESSAGE_HAS(reading(npy_file("{'descr': '<f4', 'colour': (1,)}", four)), file, "colour");
  const std::string good = npy_file(header_of("<f4", "(3, 2)"), std::string(24, 'x'));
  for (std::size_t size = 0; size < good.size(); ++size)
    CHECK_MESSAGE_HAS(reading(good.substr(0, size)), file);
}

TEST_CASE("a shape of more dimensions than NumPy has is refused") {
  const TemporaryFolder folder;
  const auto ones = [](int count) {
    std::string out = "(";
    for (int i = 0; i < count; ++i) out += "1, ";
    return out + ")";
  };
  const auto reading = [&](int count) {
    return read_npy(folder.write("a.npy", npy_file(header_of("|u1", ones(count), true), "x")));
  };
  CHECK(reading(64).as<int>() == std::vector<int>{'x'});
  CHECK_MESSAGE_HAS(reading(65), "a.npy", "more than 64 dimensions");
  CHECK_MESSAGE_HAS(reading(16'000), "a.npy", "more than 64 dimensions");
  const std::vector<float> value{1};
  write_npy(folder / "b.npy", value, std::vector<Index>(64, 1));
  CHECK(read_npy(folder / "b.npy").shape.size() == 64);
  CHECK(vlp::test::message_of<std::invalid_argument>([&] {
          write_npy(folder / "b.npy", value, std::vector<Index>(65, 1));
        }) == "write_npy: 65 dimensions, but .npy has 64 at most");
}

TEST_CASE("an array of no elements has none, whatever its other extents") {
  const TemporaryFolder folder;
  const NpyArray array =
      read_npy(folder.write("a.npy", npy_file(header_of("<f4", "(4611686018427387904, 4, 0)"), "")));
  CHECK(array.size() == 0);
  CHECK(array.as<float>().empty());
  // A shape that a caller filled in.
  CHECK_MESSAGE_HAS((NpyArray{"b.npy", {Index{1} << 62, 4}, "f4", ""}.size()), "b.npy: the shape");
  CHECK_MESSAGE_HAS((NpyArray{"b.npy", {-1, 4}, "f4", ""}.size()), "b.npy: the shape");
  CHECK_MESSAGE_HAS((NpyArray{"b.npy", {-1, 0}, "f4", ""}.size()), "b.npy: the shape");
}

TEST_CASE("a .npy file is the same whatever the global locale") {
  const TemporaryFolder folder;
  const std::vector<std::uint8_t> values(2'000'000, 7);
  write_npy(folder / "plain.npy", values, {1000, 2000});
  {
    const vlp::test::GroupingLocale locale;
    write_npy(folder / "grouped.npy", values, {1000, 2000});
    CHECK(read_npy(folder / "grouped.npy").shape == std::vector<Index>{1000, 2000});
  }
  CHECK(read_file(folder / "grouped.npy") == read_file(folder / "plain.npy"));
}

TEST_CASE("a shape that does not fit its values is not written") {
  const TemporaryFolder folder;
  for (const Index extent : {Index{-1}, Index{1} << 62})
    CHECK_THROWS_AS(write_npy(folder / "a.npy", std::vector<float>{1}, {extent, 4}), std::invalid_argument);
  CHECK_THROWS_AS(write_npy(folder / "a.npy", std::vector<float>{1, 2}, {3}), std::invalid_argument);
  CHECK(folder.file_count() == 0);
}

TEST_CASE("a .npy file changed at random is read or refused and nothing else") {
  const TemporaryFolder folder;
  CHECK(rc::check([&](const std::vector<std::pair<std::uint8_t, char>>& changes) {
    std::string bytes = npy_file(header_of("<f4", "(3, 2)", true), std::string(24, 'x'));
    for (const auto& [at, value] : changes) bytes[at % bytes.size()] = value;
    const Path path = folder.write("a.npy", bytes);
    try {
      const NpyArray array = read_npy(path);
      RC_ASSERT(array.as<double>().size() == static_cast<std::size_t>(array.size()));
    } catch (const std::runtime_error& error) {
      RC_ASSERT(std::string(error.what()).find(path.string()) == 0U);
    }
  }));
}

}  // namespace
