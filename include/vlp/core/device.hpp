/// \file
/// The concept of a device, and the transfers between its memory and the host's.
///
/// An operation of a device (a transfer, a layer's operation, an optimiser's update) is a free function
/// overloaded on the device. It lives in the device's namespace, where argument-dependent lookup finds it, so
/// that a layer is written once for all devices. Code that is written for any device never reads or writes
/// memory of the device itself: it calls operations.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/scalar.hpp>

#include <algorithm>
#include <concepts>
#include <span>
#include <type_traits>

namespace vlp {

/// Sets `count` elements at `data` to `value`.
template <class T>
void fill(Cpu& device, T* data, Index count, std::type_identity_t<T> value) {
  constexpr Index grain = Index(1) << 18;
  device.parallel_ranges(count, grain,
                         [&](Index begin, Index end) { std::fill(data + begin, data + end, value); });
}

/// Copies `count` elements of device memory to other memory of the device.
template <class T>
void copy(Cpu&, const std::type_identity_t<T>* from, Index count, T* to) {
  std::copy_n(from, count, to);
}

/// Copies `host` to device memory at `data`, which has room for it. The host's memory may be reused when the
/// call returns.
template <class T>
void upload(Cpu&, std::span<const std::type_identity_t<T>> host, T* data) {
  std::copy(host.begin(), host.end(), data);
}

/// Copies host.size() elements of device memory at `data` to `host`. The elements are there when the call
/// returns.
template <class T>
void download(Cpu&, const T* data, std::span<std::type_identity_t<T>> host) {
  std::copy_n(data, host.size(), host.begin());
}

namespace detail {
/// Holds if elements of type T get into and out of the memory of device D.
template <class D, class T>
concept Transfers = requires(D& device, T* data, std::span<const T> from, std::span<T> to, Index count) {
  typename D::template Buffer<T>;
  fill(device, data, count, T{});
  copy(device, data, count, data);
  upload(device, from, data);
  download(device, static_cast<const T*>(data), to);
};
}  // namespace detail

/// A device: the kind of its memory (D::Memory), memory kept between calls (D::Buffer<T>), scratch memory for
/// one call (device.scratch(), see BasicArena), and the four transfers `fill`, `copy`, `upload` and
/// `download` that stand above for the Cpu.
template <class D>
concept Device = detail::Transfers<D, float> && detail::Transfers<D, Index> && requires(D& device) {
  requires std::same_as<typename D::template Buffer<float>, Buffer<float, typename D::Memory>>;
  device.scratch().scope();
};

static_assert(Device<Cpu>);

}  // namespace vlp
