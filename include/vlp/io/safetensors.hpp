/// \file
/// Named arrays in one file: checkpoints, and weights to and from other frameworks.
/// Format: https://huggingface.co/docs/safetensors. The element types F32, F64, F16, BF16, I32, I64 and U8
/// are supported; C++ has no type for F16 and BF16, so these are read as float or double. A tensor of another
/// type does no harm to the rest of its file: only its values cannot be read.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/io/detail/narrow_float.hpp>
#include <vlp/io/detail/safetensors_header.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace vlp::io {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

/// Type of a tensor's elements.
using detail::TensorType;

/// Texts by name, e.g. the step a checkpoint was taken at.
using Metadata = std::map<std::string, std::string>;

/// A tensor to be written: a name, and the bytes of values that the caller keeps.
struct TensorRef {
  std::string name;
  TensorType type = TensorType::f32;
  std::vector<Index> shape;  ///< empty for a single number
  std::string_view bytes;    ///< the elements, row-major
};

/// The type of a tensor of `T`, which is float, double, a signed integer of 4 or 8 bytes, or std::uint8_t.
template <class T>
[[nodiscard]] constexpr TensorType tensor_type() {
  using Value = std::remove_cv_t<T>;
  if constexpr (std::is_same_v<Value, float>) {
    return TensorType::f32;
  } else if constexpr (std::is_same_v<Value, double>) {
    return TensorType::f64;
  } else if constexpr (std::is_integral_v<Value> && std::is_signed_v<Value> && sizeof(Value) == 4) {
    return TensorType::i32;
  } else if constexpr (std::is_integral_v<Value> && std::is_signed_v<Value> && sizeof(Value) == 8) {
    return TensorType::i64;
  } else {
    static_assert(std::is_same_v<Value, std::uint8_t>, "not an element type of vlp's safetensors files");
    return TensorType::u8;
  }
}

/// Whether a `T` holds every value of a tensor of the given type: always that of `T` itself, for float also
/// F16 and BF16, and for double also F16, BF16 and F32.
template <class T>
[[nodiscard]] constexpr bool holds_values_of(TensorType type) {
  constexpr TensorType own = tensor_type<T>();
  const bool is_half = type == TensorType::f16 || type == TensorType::bf16;
  return type == own || (own == TensorType::f32 && is_half) ||
         (own == TensorType::f64 && (is_half || type == TensorType::f32));
}

namespace detail {

/// Writes to `to` what `convert` makes of each `From` in `bytes`, which need not be aligned.
template <class From, class T, class Convert>
void convert_values(std::string_view bytes, std::span<T> to, Convert convert) {
  for (std::size_t i = 0; i < to.size(); ++i) {
    From value;
    std::memcpy(&value, bytes.data() + i * sizeof(From), sizeof(From));
    to[i] = static_cast<T>(convert(value));
  }
}

/// Writes the values of a tensor of the given type, which `T` holds, to `to`.
template <class T>
void copy_values(TensorType type, std::string_view bytes, std::span<T> to) {
  if (bytes.empty()) return;
  if (type == tensor_type<T>()) {
    std::memcpy(to.data(), bytes.data(), bytes.size());
  } else if (type == TensorType::f16) {
    convert_values<std::uint16_t>(bytes, to, float_of_half);
  } else if (type == TensorType::bf16) {
    convert_values<std::uint16_t>(bytes, to, float_of_bfloat16);
  } else {
    convert_values<float>(bytes, to, [](float value) { return value; });
  }
}

}  // namespace detail

/// A tensor of contiguous values.
template <class T>
[[nodiscard]] TensorRef tensor_ref(std::string name, std::span<const T> values, std::vector<Index> shape) {
  return {std::move(name),
          tensor_type<T>(),
          std::move(shape),
          {reinterpret_cast<const char*>(values.data()), values.size_bytes()}};
}

/// A tensor of a contiguous view's values and shape.
template <class T, std::size_t Rank>
[[nodiscard]] TensorRef tensor_ref(std::string name, const View<T, Rank>& view) {
  require(view.contiguous(), "tensor ", name, ": the view is not contiguous");
  return tensor_ref(
      std::move(name),
      std::span<const std::remove_const_t<T>>(view.data(), static_cast<std::size_t>(view.size())),
      std::vector<Index>(view.extents().begin(), view.extents().end()));
}

/// Writes the tensors and the metadata, atomically (see write_file). Throws std::invalid_argument for a name
/// that occurs twice or is "__metadata__", a shape that does not fit its values, or text that is not UTF-8;
/// std::runtime_error when the file cannot be written.
inline void write_safetensors(const Path& path, std::span<const TensorRef> tensors,
                              const Metadata& metadata = {}) {
  std::vector<detail::TensorEntry> entries;
  std::vector<const TensorRef*> order;
  for (const TensorRef& tensor : tensors) {
    require(tensor.type != TensorType::other, "write_safetensors: tensor '", tensor.name,
            "' is of no type that is written");
    order.push_back(&tensor);
  }
  // Wide elements first, so that all are aligned for a reader that maps the file.
  std::stable_sort(order.begin(), order.end(), [](const TensorRef* a, const TensorRef* b) {
    return detail::width(a->type) > detail::width(b->type);
  });
  std::uint64_t offset = 0;
  for (const TensorRef* tensor : order) {
    entries.push_back({tensor->name, tensor->type, std::string(detail::type_name(tensor->type)),
                       tensor->shape, offset, offset + tensor->bytes.size()});
    offset += tensor->bytes.size();
  }
  const std::string header = detail::make_safetensors_header(entries, metadata);
  std::vector<std::string_view> pieces{header};
  for (const TensorRef* tensor : order) pieces.push_back(tensor->bytes);
  write_file(path, pieces);
}

/// The contents of a safetensors file, in memory.
class SafeTensors {
 public:
  /// Reads and checks a file. Throws std::runtime_error, naming the file and the tensor at fault.
  explicit SafeTensors(const Path& path) : path_(path.string()), file_(read_file(path)) {
    header_ = detail::parse_safetensors_header(file_, path_);
  }

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const Metadata& metadata() const noexcept { return header_.metadata; }

  /// The text of a metadata entry. Throws std::runtime_error if there is none of that name.
  [[nodiscard]] const std::string& metadata(const std::string& name) const {
    const auto found = header_.metadata.find(name);
    ensure(found != header_.metadata.end(), path_, ": no metadata '", name, "'");
    return found->second;
  }

  /// Names of the tensors, sorted.
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& [name, entry] : header_.tensors) out.push_back(name);
    return out;
  }
  [[nodiscard]] bool contains(const std::string& name) const { return header_.tensors.count(name) != 0; }
  [[nodiscard]] const std::vector<Index>& shape(const std::string& name) const { return entry(name).shape; }
  [[nodiscard]] TensorType type(const std::string& name) const { return entry(name).type; }
  /// The name of the type in the file, e.g. "BOOL", also for TensorType::other.
  [[nodiscard]] const std::string& dtype(const std::string& name) const { return entry(name).dtype; }

  /// The elements as they are in the file, not necessarily aligned, for as long as this object lives.
  [[nodiscard]] std::string_view bytes(const std::string& name) const {
    const detail::TensorEntry& e = entry(name);
    return std::string_view(file_).substr(header_.length + e.begin, e.end - e.begin);
  }

  /// Number of elements.
  [[nodiscard]] std::size_t size(const std::string& name) const {
    return static_cast<std::size_t>(detail::byte_size(1, entry(name).shape).value());
  }

  /// The elements, row-major, converted to `T` without rounding. Throws std::runtime_error, naming the file,
  /// the tensor and both types, unless `T` holds every value of the tensor's type (see holds_values_of).
  template <class T>
  [[nodiscard]] std::vector<T> values(const std::string& name) const {
    std::vector<T> out(size(name));
    copy_to(name, std::span<T>(out));
    return out;
  }

  /// Copies the elements, converted as by `values`, to memory of exactly as many. Throws as `values` does, or
  /// for another number, and then writes nothing.
  template <class T>
  void copy_to(const std::string& name, std::span<T> to) const {
    check_type<T>(name);
    require(to.size() == size(name), "tensor ", name, ": the file has ", size(name),
            " elements but there is memory for ", to.size());
    detail::copy_values(type(name), bytes(name), to);
  }

  /// Copies the elements, converted as by `values`, to a contiguous view of the tensor's shape. Throws as
  /// `values` does, or for another shape, naming the file, the tensor and both, and then writes nothing.
  template <class T, std::size_t Rank>
  void copy_to(const std::string& name, const View<T, Rank>& view) const {
    require(view.contiguous(), "tensor ", name, ": the view is not contiguous");
    check_type<T>(name);
    const std::vector<Index> wanted(view.extents().begin(), view.extents().end());
    ensure(wanted == shape(name), path_, ": tensor '", name, "' has shape ", detail::text_of(shape(name)),
           ", not ", detail::text_of(wanted));
    copy_to(name, std::span<T>(view.data(), static_cast<std::size_t>(view.size())));
  }

 private:
  [[nodiscard]] const detail::TensorEntry& entry(const std::string& name) const {
    const auto found = header_.tensors.find(name);
    ensure(found != header_.tensors.end(), path_, ": no tensor '", name, "'");
    return found->second;
  }
  template <class T>
  void check_type(const std::string& name) const {
    ensure(holds_values_of<T>(type(name)), path_, ": tensor '", name, "' is of type ", dtype(name), ", not ",
           detail::type_name(tensor_type<T>()));
  }

  std::string path_;
  std::string file_;
  detail::SafeTensorsHeader header_;
};

/// Reads a safetensors file; see SafeTensors.
[[nodiscard]] inline SafeTensors read_safetensors(const Path& path) {
  return SafeTensors(path);
}

}  // namespace vlp::io
