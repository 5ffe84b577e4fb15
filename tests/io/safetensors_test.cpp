#include "support/temporary_folder.hpp"

#include <rapidcheck.h>

#include <vlp/io/safetensors.hpp>

#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::io;
using vlp::test::TemporaryFolder;

template <class T>
TensorRef ref(const std::string& name, const std::vector<T>& values, std::vector<Index> shape) {
  return tensor_ref(name, std::span<const T>(values), std::move(shape));
}

/// A file of the given header text and data.
std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + header + data;
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

TEST_CASE("tensors and metadata come back as written") {
  const TemporaryFolder folder;
  const std::vector<float> f32{1, -2.5F, 3, 4, 5, 6};
  const std::vector<double> f64{0.1};
  const std::vector<std::int32_t> i32{-1, 2};
  const std::vector<std::int64_t> i64{std::int64_t{1} << 40};
  const std::vector<std::uint8_t> u8{1, 2, 255};
  const std::vector<TensorRef> tensors{ref("u8", u8, {3}),   ref("block.0/weight", f32, {2, 3}),
                                       ref("f64", f64, {}),  ref("i32", i32, {1, 2}),
                                       ref("i64", i64, {1}), ref("none", std::vector<float>{}, {0, 5})};
  write_safetensors(folder / "a.safetensors", tensors, {{"step", "12"}, {"note", "\"quoted\", \xC3\xA9"}});
  const SafeTensors file = read_safetensors(folder / "a.safetensors");
  CHECK(file.names() == std::vector<std::string>{"block.0/weight", "f64", "i32", "i64", "none", "u8"});
  CHECK(file.values<float>("block.0/weight") == f32);
  CHECK(file.shape("block.0/weight") == std::vector<Index>{2, 3});
  CHECK(file.values<double>("f64") == f64);
  CHECK(file.shape("f64").empty());
  CHECK(file.values<std::int32_t>("i32") == i32);
  CHECK(file.values<std::int64_t>("i64") == i64);
  CHECK(file.values<std::uint8_t>("u8") == u8);
  CHECK(file.values<float>("none").empty());
  CHECK(file.type("i64") == TensorType::i64);
  CHECK(file.contains("u8"));
  CHECK_FALSE(file.contains("u9"));
  CHECK(file.metadata("step") == "12");
  CHECK(file.metadata() == Metadata{{"step", "12"}, {"note", "\"quoted\", \xC3\xA9"}});
  CHECK(folder.file_count() == 1);
}

TEST_CASE("the bytes are those that the format prescribes") {
  const TemporaryFolder folder;
  const std::vector<float> values{1};
  const std::vector<TensorRef> tensors{ref("a", values, {1})};
  write_safetensors(folder / "a", tensors);
  std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  CHECK(read_file(folder / "a") == file_of(header, std::string("\0\0\x80\x3F", 4)));
  write_safetensors(folder / "a", std::span<const TensorRef>());
  CHECK(read_safetensors(folder / "a").names().empty());
}

TEST_CASE("wide elements are aligned whatever the order of tensors") {
  const TemporaryFolder folder;
  const std::vector<std::uint8_t> bytes{1};
  const std::vector<double> doubles{2, 3};
  const std::vector<TensorRef> tensors{ref("bytes", bytes, {1}), ref("doubles", doubles, {2})};
  write_safetensors(folder / "a", tensors);
  const std::string file = read_file(folder / "a");
  std::string wanted(16, '\0');
  std::memcpy(wanted.data(), doubles.data(), 16);
  CHECK(file.find(wanted) % 8 == 0);
}

TEST_CASE("a tensor is copied to a view of its type and shape only") {
  const TemporaryFolder folder;
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  const std::vector<TensorRef> tensors{tensor_ref("w", View<const float, 2>(values.data(), {2, 3}))};
  write_safetensors(folder / "a.st", tensors);
  const SafeTensors file = read_safetensors(folder / "a.st");
  std::vector<float> target(6, 0);
  CHECK_MESSAGE_HAS(file.copy_to("w", View<float, 2>(target.data(), {3, 2})), "a.st", "'w'", "[2, 3]",
                    "[3, 2]");
  CHECK_MESSAGE_HAS(file.copy_to("w", View<float, 1>(target.data(), {6})), "'w'", "[6]");
  CHECK_MESSAGE_HAS(file.values<std::int32_t>("w"), "'w'", "F32", "I32");
  CHECK_MESSAGE_HAS(file.values<float>("v"), "a.st", "no tensor 'v'");
  CHECK_MESSAGE_HAS(file.metadata("step"), "a.st", "no metadata 'step'");
  CHECK(target == std::vector<float>(6, 0));
  file.copy_to("w", View<float, 2>(target.data(), {2, 3}));
  CHECK(target == values);
}

/// What a number of `exponent_bits` and `fraction_bits` after its sign means, by the definition of IEEE 754.
double meaning_of(std::uint32_t bits, int exponent_bits, int fraction_bits) {
  const auto fraction = static_cast<double>(bits % (1U << fraction_bits)) / (1U << fraction_bits);
  const int exponent = static_cast<int>(bits >> fraction_bits) % (1 << exponent_bits);
  const int bias = (1 << (exponent_bits - 1)) - 1, last = (1 << exponent_bits) - 1;
  const double sign = bits >> (exponent_bits + fraction_bits) == 0 ? 1 : -1;
  if (exponent == last) return fraction == 0 ? sign * HUGE_VAL : std::numeric_limits<double>::quiet_NaN();
  return exponent == 0 ? sign * std::ldexp(fraction, 1 - bias)
                       : sign * std::ldexp(1 + fraction, exponent - bias);
}

TEST_CASE("every number of 16 bits is read as the float and the double of its value") {
  const TemporaryFolder folder;
  std::vector<std::uint16_t> bits(65536);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
  const std::string_view bytes(reinterpret_cast<const char*>(bits.data()), 2 * bits.size());
  const std::vector<TensorRef> tensors{{"half", TensorType::f16, {256, 256}, bytes},
                                       {"bfloat16", TensorType::bf16, {65536}, bytes}};
  write_safetensors(folder / "a", tensors);
  const SafeTensors file = read_safetensors(folder / "a");
  CHECK(file.type("half") == TensorType::f16);
  CHECK(file.size("half") == 65536);
  const auto check = [&](const std::string& name, int exponent_bits, int fraction_bits) {
    const auto floats = file.values<float>(name);
    const auto doubles = file.values<double>(name);
    REQUIRE(floats.size() == bits.size());
    REQUIRE(doubles.size() == bits.size());
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < bits.size(); ++i) {
      const double wanted = meaning_of(bits[i], exponent_bits, fraction_bits);
      const auto float_bits = std::bit_cast<std::uint32_t>(floats[i]);
      if (std::isnan(wanted)) {  // the sign and the payload stay
        const std::uint32_t sign = i >= 0x8000 ? 0x80000000U : 0;
        const auto fraction = static_cast<std::uint32_t>(i) % (1U << fraction_bits);
        wrong += float_bits != (sign | 0x7f800000U | fraction << (23 - fraction_bits));
        wrong += !std::isnan(doubles[i]);
      } else {
        wrong += float_bits != std::bit_cast<std::uint32_t>(static_cast<float>(wanted));
        wrong += std::bit_cast<std::uint64_t>(doubles[i]) != std::bit_cast<std::uint64_t>(wanted);
      }
    }
    CHECK(wrong == 0);
  };
  check("half", 5, 10);
  check("bfloat16", 8, 7);
  // Numbers known by heart, for which no definition has to be right.
  const auto half = file.values<float>("half"), bfloat16 = file.values<float>("bfloat16");
  CHECK(half[0x3c00] == 1);
  CHECK(half[0xc100] == -2.5F);
  CHECK(half[0x7bff] == 65504);
  CHECK(half[0x0001] == 0x1p-24F);
  CHECK(bfloat16[0x3f80] == 1);
  CHECK(bfloat16[0xc020] == -2.5F);
  CHECK_MESSAGE_HAS(file.values<std::int32_t>("half"), "'half'", "F16", "I32");
}

TEST_CASE("a tensor is converted where no value is rounded and nowhere else") {
  const TemporaryFolder folder;
  const std::vector<float> f32{0.1F, -0.0F, 1e-45F};
  const std::vector<double> f64{0.1};
  const std::vector<std::int32_t> i32{7};
  const std::vector<TensorRef> tensors{ref("f32", f32, {3}), ref("f64", f64, {1}), ref("i32", i32, {1})};
  write_safetensors(folder / "a", tensors);
  const SafeTensors file = read_safetensors(folder / "a");
  const auto doubles = file.values<double>("f32");
  CHECK(doubles == std::vector<double>{double{0.1F}, -0.0, double{1e-45F}});
  CHECK(std::signbit(doubles[1]));
  CHECK_MESSAGE_HAS(file.values<float>("f64"), "'f64'", "F64", "F32");
  CHECK_MESSAGE_HAS(file.values<double>("i32"), "'i32'", "I32", "F64");
  CHECK_MESSAGE_HAS(file.values<std::int64_t>("i32"), "'i32'", "I32", "I64");
  std::vector<double> target(2, 5);
  CHECK(test::message_of<std::invalid_argument>([&] { file.copy_to("f32", std::span(target)); }) ==
        "tensor f32: the file has 3 elements but there is memory for 2");
  CHECK(target == std::vector<double>{5, 5});
  file.copy_to("f32", View<double, 1>((target.resize(3), target.data()), {3}));
  CHECK(target == doubles);
}

TEST_CASE("what cannot be written is refused before a file is touched") {
  const TemporaryFolder folder;
  const std::vector<float> values{1, 2};
  const auto writing = [&](const std::vector<TensorRef>& tensors, const Metadata& metadata = {}) {
    return test::message_of<std::invalid_argument>(
        [&] { write_safetensors(folder / "a", tensors, metadata); });
  };
  CHECK(writing({ref("a", values, {3})}).find("'a' of shape [3] has 8 bytes") != std::string::npos);
  CHECK(writing({ref("a", values, {-1, -2})}).find("'a'") != std::string::npos);
  CHECK(writing({ref("a", values, {2}), ref("a", values, {2})}).find("'a'") != std::string::npos);
  CHECK(writing({{"a", TensorType::other, {8}, "12345678"}}).find("'a' is of no type") != std::string::npos);
  CHECK(writing({ref("__metadata__", values, {2})}).find("__metadata__") != std::string::npos);
  CHECK_FALSE(writing({ref("\xFF", values, {2})}).empty());
  CHECK_FALSE(writing({}, {{"note", "\xFF"}}).empty());
  CHECK(folder.file_count() == 0);
}

TEST_CASE("malformed safetensors files are refused by file and tensor") {
  const TemporaryFolder folder;
  const auto reading = [&](const std::string& header, std::size_t bytes) {
    return read_safetensors(folder.write("bad.st", file_of(header, std::string(bytes, 'x'))));
  };
  const auto one = [&](const std::string& value, std::size_t bytes = 8) {
    return reading("{\"w\":" + value + "}", bytes);
  };
  const std::string file = (folder / "bad.st").string();
  REQUIRE_NOTHROW(one(entry("F32", "[2]", "[0,8]")));
  CHECK_MESSAGE_HAS(read_safetensors(folder / "none.st"), "none.st", "No such file");
  CHECK_MESSAGE_HAS(read_safetensors(folder.write("bad.st", "")), file, "truncated");
  CHECK_MESSAGE_HAS(read_safetensors(folder.write("bad.st", std::string(8, '\xFF'))), file, "truncated");
  CHECK_MESSAGE_HAS(reading("{\"w\":", 0), file, "not JSON");
  CHECK_MESSAGE_HAS(reading("", 0), file, "not JSON");
  CHECK_MESSAGE_HAS(reading("[1]", 0), file, "no JSON object");
  CHECK_MESSAGE_HAS(reading("{\"\xFF\":1}", 0), file, "not JSON");
  CHECK_MESSAGE_HAS(reading(R"({"__metadata__":{"a":1}})", 0), file, "metadata 'a'");
  CHECK_MESSAGE_HAS(reading(R"({"__metadata__":3})", 0), file, "metadata");
  CHECK_MESSAGE_HAS(one("3"), file, "'w'", "shape");
  CHECK_MESSAGE_HAS(one(entry("F32", "[-2]", "[0,8]")), file, "'w'", "shape");
  CHECK_MESSAGE_HAS(one(entry("F32", "[2.0]", "[0,8]")), file, "'w'", "shape");
  CHECK_MESSAGE_HAS(one(entry("F32", "[2]", "[0]")), file, "'w'", "data_offsets");
  CHECK_MESSAGE_HAS(one(entry("BOOL", "[4611686018427387904,4]", "[0,8]")), file, "'w'", "BOOL");
  CHECK_MESSAGE_HAS(one(entry("F32", "[9223372036854775808]", "[0,8]")), file, "'w'", "shape");
  CHECK_MESSAGE_HAS(one(R"({"shape":[2],"data_offsets":[0,8]})"), file, "'w'", "dtype");
  CHECK_MESSAGE_HAS(one(entry("F32", "[3]", "[0,8]")), file, "'w'", "[3]");
  CHECK_MESSAGE_HAS(one(entry("F32", "[2]", "[8,0]")), file, "'w'", "8 to 0");
  CHECK_MESSAGE_HAS(one(entry("F32", "[4611686018427387904,4]", "[0,0]")), file, "'w'");
  CHECK_MESSAGE_HAS(one(entry("F32", "[2]", "[0,8]"), 7), file, "'w'", "truncated");
  CHECK_MESSAGE_HAS(one(entry("F32", "[2]", "[0,8]"), 9), file, "1 bytes belong to no tensor");
  CHECK_MESSAGE_HAS(one(entry("F32", "[2]", "[4,12]"), 12), file, "'w' begins at byte 4");
  const std::string two =
      "{\"a\":" + entry("F32", "[2]", "[0,8]") + ",\"b\":" + entry("F32", "[2]", "[4,12]") + "}";
  CHECK_MESSAGE_HAS(reading(two, 12), file, "'b' begins at byte 4");
  const std::string twice =
      "{\"a\":" + entry("F32", "[1]", "[0,4]") + ",\"a\":" + entry("F32", "[1]", "[4,8]") + "}";
  CHECK_MESSAGE_HAS(reading(twice, 8), file, "'a' occurs twice");
  // A name that would clear a terminal.
  CHECK_MESSAGE_HAS(reading("{\"\\u001b[2J\":3}", 0), "tensor '\\x1b[2J'");
}

TEST_CASE("a tensor of a type without values leaves the others of its file alone") {
  const TemporaryFolder folder;
  const std::string header = "{\"mask\":" + entry("BOOL", "[3]", "[0,3]") +
                             ",\"odd\":" + entry("F4", "[2,3]", "[3,6]") +
                             ",\"w\":" + entry("U8", "[2]", "[6,8]") + "}";
  const SafeTensors file =
      read_safetensors(folder.write("a.st", file_of(header, std::string("\1\0\1xyz\7\10", 8))));
  CHECK(file.values<std::uint8_t>("w") == std::vector<std::uint8_t>{7, 8});
  CHECK(file.type("mask") == TensorType::other);
  CHECK(file.dtype("mask") == "BOOL");
  CHECK(file.dtype("w") == "U8");
  CHECK(file.size("mask") == 3);
  CHECK(file.size("odd") == 6);
  CHECK(file.shape("odd") == std::vector<Index>{2, 3});
  CHECK(file.bytes("odd") == "xyz");
  CHECK_MESSAGE_HAS(file.values<std::uint8_t>("mask"), "a.st", "'mask' is of type BOOL, not U8");
  CHECK_MESSAGE_HAS(file.values<float>("odd"), "a.st", "'odd' is of type F4, not F32");
}

TEST_CASE("a file of many tensors is written and read in proportion") {
  const TemporaryFolder folder;
  constexpr std::size_t count = 80'000;  // of which a quadratic reader makes a minute
  const std::vector<std::uint8_t> values(count, 5);
  std::vector<TensorRef> tensors;
  for (std::size_t i = 0; i < count; ++i)
    tensors.push_back(tensor_ref("tensor " + std::to_string(i), std::span(values).subspan(i, 1), {1}));
  const auto start = std::chrono::steady_clock::now();
  write_safetensors(folder / "a", tensors);
  const SafeTensors file = read_safetensors(folder / "a");
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));  // 2 s without optimisation
  CHECK(file.names().size() == count);
  CHECK(file.values<std::uint8_t>("tensor 79999").at(0) == 5);
}

TEST_CASE("a safetensors file changed or cut at random is read or refused and nothing else") {
  const TemporaryFolder folder;
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  const std::vector<TensorRef> tensors{ref("first", values, {2, 3}), ref("second", values, {6})};
  write_safetensors(folder / "a", tensors, {{"step", "1"}});
  const std::string whole = read_file(folder / "a");
  CHECK(rc::check([&](const std::vector<std::pair<std::uint16_t, std::uint8_t>>& changes) {
    std::string bytes = whole;
    for (const auto& [at, choice] : changes) {
      constexpr std::string_view letters = "0123456789{}[]\",:FIU";
      const std::size_t index = at % bytes.size();
      bytes[index] = choice < 200 ? letters[choice % letters.size()] : static_cast<char>(choice);
    }
    if (*rc::gen::inRange(0, 4) == 0) bytes.resize(*rc::gen::inRange<std::size_t>(0, bytes.size()));
    const Path path = folder.write("b", bytes);
    try {
      const SafeTensors file = read_safetensors(path);
      for (const std::string& name : file.names()) {
        Index size = 1;
        for (Index extent : file.shape(name)) size *= extent;
        if (file.type(name) == TensorType::f32)
          RC_ASSERT(static_cast<Index>(file.values<float>(name).size()) == size);
      }
    } catch (const std::runtime_error& error) {
      RC_ASSERT(std::string(error.what()).find(path.string() + ":") == 0U);
    }
  }));
}

}  // namespace
