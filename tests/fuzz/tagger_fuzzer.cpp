// libFuzzer target: any bytes as a file of tagger weights, and a tagger that has them.
#include "fuzzer.hpp"

#include <vlp/text/perceptron_tagger.hpp>
#include <vlp/text/tagger_weights.hpp>
#include <vlp/text/words.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

namespace {

namespace text = vlp::text;
using vlp::fuzz::promise;

/// `bytes` with the first ones as a file's header, of small tables, and with the size and checksum that
/// belong to it.
std::string mended(std::string bytes) {
  const auto bits = [&](std::size_t at) {
    return at < bytes.size() ? static_cast<unsigned char>(bytes[at]) % 3u : 0u;
  };
  const unsigned feature_bits = bits(8), word_bits = bits(12);
  std::string file(text::detail::tagger_weights_magic);
  text::detail::append_little_endian(feature_bits, file);
  text::detail::append_little_endian(word_bits, file);
  const std::size_t tables = 4 * ((text::detail::packed_bucket_slots << feature_bits) +
                                  (text::detail::packed_bucket_slots << word_bits));
  bytes.resize(16 + tables, '\3');
  file.append(bytes, 16, tables);
  text::detail::append_little_endian(text::detail::fnv1a(file), file);
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string bytes(vlp::fuzz::text_of(data, size));
  if (size > 0 && data[size - 1] % 2 != 0) bytes = mended(bytes);
  vlp::fuzz::reads([&] {
    const auto weights = text::TaggerWeights::parse(bytes);
    promise(weights.serialise() == bytes, "weights are written as they were read");
    text::WordReader<text::PerceptronTagger> reader(50, text::PerceptronTagger(weights));
    const text::Words words = reader.read("Small left pleural effusion. The heart isn't ENLARGED, 3.2 cm.");
    promise(words.classes.size() == words.size(), "each word has a class");
    for (const text::WordClass word_class : words.classes)
      promise(word_class <= text::WordClass::other, "a class is one of four");
  });
  return 0;
}
