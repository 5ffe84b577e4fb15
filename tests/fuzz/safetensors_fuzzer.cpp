// libFuzzer target: any bytes as a safetensors file, as they are and behind a length that fits them, and as
// an index of shards.
#include "fuzzer.hpp"

#include <vlp/io/detail/weight_files.hpp>
#include <vlp/io/safetensors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace {

namespace io = vlp::io;
using vlp::fuzz::promise;

template <class T>
void check_values(const io::SafeTensors& file, const std::string& name) {
  const bool is_read = vlp::fuzz::reads([&] {
    const std::vector<T> values = file.values<T>(name);
    promise(values.size() == file.size(name), "as many values as elements");
  });
  promise(is_read == io::holds_values_of<T>(file.type(name)),
          "values are had as a type that holds them, and no other");
}

/// Checks a file that was read, and that what is written from it is read back.
void check_file(const io::SafeTensors& file, std::size_t file_size) {
  std::size_t all = 0;
  std::vector<io::TensorRef> tensors;
  for (const std::string& name : file.names()) {
    const std::string_view bytes = file.bytes(name);
    all += bytes.size();
    std::size_t count = 1;
    for (const vlp::Index extent : file.shape(name)) count *= static_cast<std::size_t>(extent);
    promise(file.size(name) == count, "the size is that of the shape");
    promise(!file.dtype(name).empty() || file.type(name) == io::TensorType::other, "a type has a name");
    check_values<float>(file, name);
    check_values<double>(file, name);
    check_values<std::int32_t>(file, name);
    check_values<std::int64_t>(file, name);
    check_values<std::uint8_t>(file, name);
    if (file.type(name) != io::TensorType::other)
      tensors.push_back({name, file.type(name), file.shape(name), bytes});
  }
  promise(all < file_size, "no more bytes than the file has");
  const auto path = vlp::fuzz::folder() / "b.safetensors";
  io::write_safetensors(path, tensors, file.metadata());
  const io::SafeTensors again(path);
  promise(again.metadata() == file.metadata(), "metadata are read back");
  promise(again.names().size() == tensors.size(), "all tensors are read back");
  for (const io::TensorRef& tensor : tensors)
    promise(again.bytes(tensor.name) == tensor.bytes && again.shape(tensor.name) == tensor.shape &&
                again.type(tensor.name) == tensor.type,
            "a tensor is read back");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(vlp::fuzz::text_of(data, size));
  vlp::fuzz::reads([&] { check_file(io::SafeTensors(vlp::fuzz::file_with(bytes, "a.safetensors")), size); });

  // The header ends at the first zero byte, for libFuzzer seldom finds a length that fits.
  const std::uint64_t length = std::min(bytes.find('\0'), size);
  std::string framed(sizeof length, '\0');
  std::memcpy(framed.data(), &length, sizeof length);
  framed += bytes;
  if (length < size) framed.erase(sizeof length + length, 1);
  const auto path = vlp::fuzz::file_with(framed, "a.safetensors");
  vlp::fuzz::reads([&] { check_file(io::SafeTensors(path), framed.size()); });

  vlp::fuzz::reads([&] {
    const io::detail::WeightFiles files(vlp::fuzz::file_with(bytes, "a.index.json"));
    for (const std::string& name : files.names())
      promise(files.file_of(name).contains(name), "a shard has its tensor");
  });
  return 0;
}
