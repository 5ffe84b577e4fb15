/// \file
/// Tensors of LibTorch as the members of a loss's inputs, outputs and gradients.
#pragma once

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace vlp::detail {

/// LibTorch's name for the type T. The CUDA header adds the types of 16 bits.
template <class T>
inline constexpr c10::ScalarType torch_type = c10::ScalarType::Undefined;
template <>
inline constexpr c10::ScalarType torch_type<float> = c10::ScalarType::Float;
template <>
inline constexpr c10::ScalarType torch_type<double> = c10::ScalarType::Double;
template <>
inline constexpr c10::ScalarType torch_type<std::int64_t> = c10::ScalarType::Long;
template <>
inline constexpr c10::ScalarType torch_type<std::uint8_t> = c10::ScalarType::Byte;

/// A kind of device of LibTorch's: `type`, and run(where, action), which does action(device) on a device of
/// the calling thread's for tensors that are at `where`. The CUDA header adds that of Cuda.
template <class Device>
struct TorchDevice;

template <>
struct TorchDevice<Cpu> {
  static constexpr c10::DeviceType type = c10::DeviceType::CPU;

  /// On as many threads as LibTorch's own loops take.
  template <class Action>
  static void run(c10::Device /*where*/, Action&& action) {
    const int threads = std::clamp(at::get_num_threads(), 1, Cpu::most_threads);
    thread_local Cpu device(threads);
    if (device.threads() != threads) device = Cpu(threads);
    action(device);
  }
};

/// The tensor is one whose elements a device of that kind reads as they lie. `loss` and `name` are for
/// messages, as below.
inline void check_tensor(std::string_view loss, std::string_view name, const torch::Tensor& tensor,
                         c10::DeviceType device) {
  require(tensor.defined(), loss, ": ", name, " is not defined");
  require(tensor.layout() == c10::kStrided && !tensor.is_nested(), loss, ": ", name,
          " must be a dense tensor");
  require(tensor.device().type() == device, loss, ": ", name, " is on ", tensor.device(), ", not on ",
          c10::DeviceTypeName(device, true));
}

/// Elements of the tensor are of type T, or bool where T is an 8-bit integer, and it has `rank` dimensions.
template <class T>
void check_elements(std::string_view loss, std::string_view name, const torch::Tensor& tensor,
                    std::size_t rank) {
  constexpr c10::ScalarType type = torch_type<std::remove_const_t<T>>;
  static_assert(type != c10::ScalarType::Undefined, "vlp: LibTorch has no such type of elements");
  constexpr bool takes_bool = type == c10::ScalarType::Byte;
  require(tensor.scalar_type() == type || (takes_bool && tensor.scalar_type() == c10::ScalarType::Bool), loss,
          ": ", name, " has elements of type ", tensor.scalar_type(), ", not ", type,
          takes_bool ? " or Bool" : "");
  require(tensor.dim() == static_cast<std::int64_t>(rank), loss, ": ", name, " has ", tensor.dim(),
          " dimensions, not ", rank);
  require(!tensor.is_neg(), loss, ": ", name, " is negated when it is read; call resolve_neg() first");
}

/// The first element. Reading alone does not copy a tensor whose memory is shared until it is written.
template <class T>
T* elements_of(const torch::Tensor& tensor) {
  if constexpr (std::is_const_v<T>)
    return static_cast<T*>(tensor.const_data_ptr());
  else
    return static_cast<T*>(tensor.mutable_data_ptr());
}

/// Points a view at a tensor. Strides along dimensions of one element, which mean nothing, become those of
/// contiguous memory.
template <class T, std::size_t Rank>
void point(std::string_view loss, std::string_view name, const torch::Tensor& tensor, View<T, Rank>& view) {
  check_elements<T>(loss, name, tensor, Rank);
  std::array<Index, Rank> extents{}, strides{};
  Index next = 1;
  for (std::size_t d = Rank; d-- > 0;) {
    extents[d] = tensor.size(static_cast<std::int64_t>(d));
    strides[d] = extents[d] <= 1 ? next : tensor.stride(static_cast<std::int64_t>(d));
    if (extents[d] > 0) next = strides[d] * extents[d];
  }
  require(strides[Rank - 1] == 1, loss, ": elements of the last dimension of ", name,
          " must be adjacent, but their stride is ", strides[Rank - 1]);
  view = {elements_of<T>(tensor), extents, strides};
}

template <class T>
void point(std::string_view loss, std::string_view name, const torch::Tensor& tensor, std::span<T>& ids) {
  VectorView<T> view;
  point(loss, name, tensor, view);
  ids = {view.data(), static_cast<std::size_t>(view.extent(0))};
}

template <class T>
void point(std::string_view loss, std::string_view name, const torch::Tensor& tensor, T*& number) {
  check_elements<T>(loss, name, tensor, 0);
  number = elements_of<T>(tensor);
}

/// The type of a member's elements.
template <class T, std::size_t Rank>
std::remove_const_t<T> element_of(const View<T, Rank>&);
template <class T>
std::remove_const_t<T> element_of(const std::span<T>&);
template <class T>
std::remove_const_t<T> element_of(T* const&);

}  // namespace vlp::detail
