#include "support/gzip.hpp"

#include "support/temporary_folder.hpp"

#include <rapidcheck.h>

#include <vlp/core/stop.hpp>
#include <vlp/io/gzip.hpp>

#include <atomic>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

using namespace vlp;
using namespace vlp::io;
using test::gzip;
using test::TemporaryFolder;

/// Bytes that `gzip` of the command line writes for "Clear.\n", with the name of the file and a time.
constexpr std::string_view with_name{
    "\x1f\x8b\x08\x08\x84\xe7\x09\x6b\x00\x03\x63\x2e\x74\x78\x74\x00\x73\xce\x49\x4d\x2c\xd2\xe3\x02"
    "\x00\xec\x4b\x56\xf9\x07\x00\x00\x00",
    33};

/// Text that is larger than any piece in which it is read, and does not repeat.
std::string long_text() {
  std::string text;
  for (unsigned i = 0; text.size() < 700'000; ++i) text += std::to_string(i * 2654435761U) + ",";
  return text;
}

TEST_CASE("gzip data are known by their first bytes") {
  CHECK(is_gzip(gzip("")));
  CHECK(is_gzip(with_name));
  CHECK_FALSE(is_gzip(""));
  CHECK_FALSE(is_gzip("\x1f"));
  CHECK_FALSE(is_gzip("image,report\n"));
  CHECK_FALSE(is_gzip("PK\x03\x04"));
}

TEST_CASE("gzip data come back as they were") {
  CHECK(gunzip(gzip(""), "t") == "");
  CHECK(gunzip(gzip("Clear."), "t") == "Clear.");
  CHECK(gunzip(with_name, "t") == "Clear.\n");
  const std::string text = long_text();
  for (const int level : {Z_NO_COMPRESSION, Z_BEST_SPEED, Z_BEST_COMPRESSION})
    CHECK(gunzip(gzip(text, level), "t") == text);
  CHECK(gunzip(gzip(std::string(3'000'000, 'x')), "t") == std::string(3'000'000, 'x'));
}

TEST_CASE("members that follow one another are joined, and zeros at the end are padding") {
  CHECK(gunzip(gzip("a") + gzip("") + gzip("b\n"), "t") == "ab\n");
  CHECK(gunzip(gzip("a") + std::string(512, '\0'), "t") == "a");
  const std::string text = long_text();
  CHECK(gunzip(gzip(text) + gzip(text), "t") == text + text);
  // A member costs what it holds: a memory of its own for each would take minutes.
  std::string many;
  for (int i = 0; i < 50'000; ++i) many += with_name;
  CHECK(gunzip(many, "t").size() == 50'000 * 7);
}

TEST_CASE("gzip data that are damaged, cut off or followed by something else are refused by name") {
  const std::string packed = gzip("image,report\na.png,Clear.\n");
  CHECK_MESSAGE_HAS(gunzip("image,report\n", "t.gz"), "t.gz: not gzip data");
  CHECK_MESSAGE_HAS(gunzip("", "t.gz"), "t.gz: not gzip data");
  for (std::size_t size = 2; size < packed.size(); ++size)
    CHECK_MESSAGE_HAS(gunzip(std::string_view(packed).substr(0, size), "t.gz"),
                      concat("t.gz: gzip data that are cut off after ", size, " bytes"));
  CHECK_MESSAGE_HAS(gunzip(packed + packed.substr(0, 9), "t.gz"), "cut off");
  CHECK_MESSAGE_HAS(gunzip(packed + "more", "t.gz"),
                    concat("t.gz: 4 bytes after the end of the gzip data, at byte ", packed.size()));
  CHECK_MESSAGE_HAS(gunzip(packed + std::string(9, '\0') + packed, "t.gz"), "after the end", "no gzip data");
  std::string damaged = packed;
  damaged[packed.size() - 8] ^= 1;  // the checksum
  CHECK_MESSAGE_HAS(gunzip(damaged, "t.gz"), "t.gz: damaged gzip data, at byte", "incorrect data check");
  damaged = packed;
  damaged[packed.size() - 1] ^= 1;  // the length
  CHECK_MESSAGE_HAS(gunzip(damaged, "t.gz"), "t.gz: damaged gzip data", "incorrect length check");
  damaged = packed;
  damaged[2] = 7;  // the method
  CHECK_MESSAGE_HAS(gunzip(damaged, "t.gz"), "t.gz: damaged gzip data", "unknown compression method");
  CHECK_MESSAGE_HAS(gunzip("\x1f\x8b\x08\xff and so on", "t.gz"), "t.gz: damaged gzip data");
}

TEST_CASE("no single changed bit of gzip data gives another text") {
  const std::string text = "image,report\na.png,Clear.\n", packed = gzip(text);
  for (std::size_t bit = 0; bit < packed.size() * 8; ++bit) {
    std::string changed = packed;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    // Time and system, which the header tells, do not matter.
    const std::string read = test::message_of([&] { throw std::runtime_error(gunzip(changed, "t")); });
    CHECK((read == text || read.starts_with("t: ")));
  }
}

TEST_CASE("gzip data that unpack to more than asked for are refused with both sizes") {
  const std::string text(1'000'000, 'x'), packed = gzip(text);
  CHECK(gunzip(packed, "t", {.max_bytes = 1'000'000}) == text);
  CHECK_MESSAGE_HAS(gunzip(packed, "t", {.max_bytes = 999'999}),
                    concat("t: ", packed.size(), " bytes of gzip data unpack to more than the 999999 bytes"));
  CHECK_MESSAGE_HAS(gunzip(gzip("ab") + gzip("cd"), "t", {.max_bytes = 3}), "more than the 3 bytes");
  CHECK(gunzip(gzip(""), "t", {.max_bytes = 0}).empty());
  // A bomb of many members, which unpacks to 1 GB.
  std::string bomb;
  for (int i = 0; i < 1000; ++i) bomb += packed;
  CHECK_MESSAGE_HAS(gunzip(bomb, "t", {.max_bytes = 5'000'000}), "more than the 5000000 bytes");
}

TEST_CASE("unpacking ends when it is asked to") {
  const std::atomic<bool> flag{true};
  CHECK_THROWS_AS(gunzip(gzip("a"), "t", {.stop = StopToken(flag)}), Stopped);
}

TEST_CASE("a file is unpacked by what it holds, whatever its name") {
  const TemporaryFolder folder;
  CHECK(read_unpacked_file(folder.write("t.csv.gz", gzip("a,b\n"))) == "a,b\n");
  CHECK(read_unpacked_file(folder.write("t.csv", gzip("a,b\n"))) == "a,b\n");
  CHECK(read_unpacked_file(folder.write("plain.csv.gz", "a,b\n")) == "a,b\n");
  CHECK(read_unpacked_file(folder.write("empty.csv.gz", "")).empty());
  CHECK_MESSAGE_HAS(read_unpacked_file(folder / "none.csv.gz"), "none.csv.gz", "No such file");
  const Path cut = folder.write("cut.csv.gz", gzip("a,b\n").substr(0, 12));
  CHECK_MESSAGE_HAS(read_unpacked_file(cut), cut.string() + ": gzip data that are cut off");
  CHECK_MESSAGE_HAS(read_unpacked_file(folder / "t.csv.gz", {.max_bytes = 3}), "bytes");
  CHECK_MESSAGE_HAS(read_unpacked_file(folder / "plain.csv.gz", {.max_bytes = 3}), "4 bytes", "3");
}

TEST_CASE("any bytes are gzip data with a text in them, or refused by name") {
  CHECK(rc::check([] {
    const auto byte = rc::gen::arbitrary<char>();
    const std::string text = *rc::gen::container<std::string>(byte);
    RC_ASSERT(gunzip(gzip(text, *rc::gen::inRange(0, 10)), "t") == text);
    const std::string bytes = "\x1f\x8b\x08" + *rc::gen::container<std::string>(byte);
    try {
      static_cast<void>(gunzip(bytes, "t", {.max_bytes = 1 << 20}));
    } catch (const std::runtime_error& error) {
      RC_ASSERT(std::string_view(error.what()).starts_with("t: "));
    }
  }));
}

}  // namespace
