// libFuzzer target: any bytes as gzip data, and the same bytes packed and unpacked again.
#include "../support/gzip.hpp"
#include "fuzzer.hpp"

#include <vlp/io/gzip.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using vlp::fuzz::promise;
  constexpr std::size_t most = 1 << 20;
  const std::string_view bytes = vlp::fuzz::text_of(data, size);
  std::string text;
  const bool is_read = vlp::fuzz::reads([&] { text = vlp::io::gunzip(bytes, "t.gz", {.max_bytes = most}); });
  if (is_read) {
    promise(vlp::io::is_gzip(bytes), "only gzip data are unpacked");
    promise(text.size() <= most, "no more is unpacked than asked for");
    promise(vlp::io::gunzip(std::string(bytes) + std::string(7, '\0'), "t.gz") == text, "zeros are padding");
    std::string joined;
    if (vlp::fuzz::reads(
            [&] { joined = vlp::io::gunzip(std::string(bytes) + vlp::test::gzip("more"), "t.gz"); }))
      promise(joined == text + "more", "another member is joined");
    else
      promise(bytes.ends_with('\0'), "another member is refused after padding alone");
    if (!text.empty())
      promise(!vlp::fuzz::reads(
                  [&] { static_cast<void>(vlp::io::gunzip(bytes, "t.gz", {.max_bytes = text.size() - 1})); }),
              "more than asked for is refused");
  }
  promise(vlp::io::gunzip(vlp::test::gzip(bytes), "t.gz") == bytes, "what is packed unpacks alike");
  return 0;
}
