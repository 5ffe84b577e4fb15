/// \file
/// The functions of vlp_ops.h, on a device that the source that includes this, once, says: it defines
/// vlp::bindings::Place, with
///   - Device, the device's type, and Scalars, a TypeList of the numbers that losses are compiled for;
///   - make(place), which returns a std::unique_ptr to a device; and
///   - name() and products(), for vlp_ops_describe().
#pragma once

#include "any_loss.hpp"
#include "arrays.hpp"
#include "describe.hpp"
#include "vlp_ops.h"

#include <vlp/core/config.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/losses/loss.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

struct VlpDevice {
  std::unique_ptr<vlp::bindings::Place::Device> device;
};

struct VlpLoss {
  std::unique_ptr<vlp::bindings::AnyLoss<vlp::bindings::Place::Device>> loss;
};

namespace vlp::bindings {

using Device = Place::Device;

/// Calls visit(std::type_identity<T>{}) for each type of numbers.
template <class Visit, class... T>
void for_each_scalar(TypeList<T...>, Visit&& visit) {
  (visit(std::type_identity<T>{}), ...);
}

inline std::unique_ptr<AnyLoss<Device>> make_loss(std::string_view name, std::string_view type,
                                                  std::span<const VlpOption> options) {
  std::unique_ptr<AnyLoss<Device>> out;
  bool is_type = false;
  for_each_scalar(Place::Scalars(), [&]<class Scalar>(std::type_identity<Scalar>) {
    if (type != element_type<Scalar>.name) return;
    is_type = true;
    AllLosses<Scalar, Device>::for_each([&]<class L>(std::type_identity<L>) {
      if (name == L::name) out = std::make_unique<OneLoss<L>>(options);
    });
  });
  require(is_type, name, ": is not there for numbers of type ", type);
  require(out != nullptr, "there is no loss ", name);
  return out;
}

inline std::string describe_library() {
  JsonList types, losses;
  bool is_first = true;
  for_each_scalar(Place::Scalars(), [&]<class Scalar>(std::type_identity<Scalar>) {
    types.add(quoted(element_type<Scalar>.name));
    if (std::exchange(is_first, false))  // losses take the same whatever the type
      AllLosses<Scalar, Device>::for_each([&]<class L>(std::type_identity<L>) { losses.add(describe<L>()); });
  });
  return json_object({{"version", quoted(VLP_VERSION_STRING)},
                      {"device", quoted(Place::name())},
                      {"products", quoted(Place::products())},
                      {"compiler", quoted(VLP_OPS_COMPILER)},
                      {"types", types.text()},
                      {"saved_alignment", std::to_string(Device::Memory::alignment)},
                      {"losses", losses.text()}});
}

inline std::string& last_error() {
  thread_local std::string text;
  return text;
}

/// Does what a function is for, and says how it ended.
template <class Action>
VlpStatus guarded(Action&& action) noexcept {
  const auto fail = [](VlpStatus status, const char* what) noexcept {
    try {
      last_error() = what;
    } catch (...) {
      last_error().clear();  // no memory for the sentence
    }
    return status;
  };
  try {
    action();
    return VLP_OK;
  } catch (const std::invalid_argument& error) {
    return fail(VLP_BAD_ARGUMENT, error.what());
  } catch (const std::bad_alloc&) {
    return fail(VLP_NO_MEMORY, "there is not enough memory");
  } catch (const std::exception& error) {
    return fail(VLP_FAILED, error.what());
  }
}

}  // namespace vlp::bindings

const char* vlp_ops_error(void) {
  return vlp::bindings::last_error().c_str();
}

const char* vlp_ops_describe(void) {
  const char* out = nullptr;
  (void)vlp::bindings::guarded([&] {
    static const std::string text = vlp::bindings::describe_library();
    out = text.c_str();
  });
  return out;
}

int64_t vlp_saved_alignment(void) {
  return static_cast<int64_t>(vlp::bindings::Device::Memory::alignment);
}

VlpStatus vlp_device_make(intptr_t place, VlpDevice** device) {
  return vlp::bindings::guarded([&] {
    auto made = std::make_unique<VlpDevice>();
    made->device = vlp::bindings::Place::make(place);
    *device = made.release();
  });
}

void vlp_device_free(VlpDevice* device) {
  delete device;
}

int64_t vlp_device_scratch_bytes(VlpDevice* device) {
  return static_cast<int64_t>(device->device->scratch().high_water());
}

VlpStatus vlp_loss_make(const char* name, const char* type, const VlpOption* options, int64_t option_count,
                        VlpLoss** loss) {
  return vlp::bindings::guarded([&] {
    auto made = std::make_unique<VlpLoss>();
    made->loss = vlp::bindings::make_loss(name, type, {options, static_cast<std::size_t>(option_count)});
    *loss = made.release();
  });
}

void vlp_loss_free(VlpLoss* loss) {
  delete loss;
}

VlpStatus vlp_loss_saved_bytes(const VlpLoss* loss, const VlpInputs* inputs, int64_t* bytes) {
  return vlp::bindings::guarded([&] { *bytes = static_cast<int64_t>(loss->loss->saved_bytes(*inputs)); });
}

VlpStatus vlp_loss_forward(const VlpLoss* loss, VlpDevice* device, const VlpInputs* inputs,
                           const VlpArrays* outputs, const VlpSaved* saved) {
  return vlp::bindings::guarded([&] { loss->loss->forward(*device->device, *inputs, *outputs, *saved); });
}

VlpStatus vlp_loss_backward(const VlpLoss* loss, VlpDevice* device, const VlpInputs* inputs,
                            const VlpSaved* saved, double upstream, const VlpGradients* gradients) {
  return vlp::bindings::guarded(
      [&] { loss->loss->backward(*device->device, *inputs, *saved, upstream, *gradients); });
}

VlpStatus vlp_loss_forward_backward(const VlpLoss* loss, VlpDevice* device, const VlpInputs* inputs,
                                    double upstream, const VlpArrays* outputs,
                                    const VlpGradients* gradients) {
  return vlp::bindings::guarded(
      [&] { loss->loss->forward_backward(*device->device, *inputs, upstream, *outputs, *gradients); });
}

VlpStatus vlp_loss_block_saved_bytes(const VlpLoss* loss, const VlpInputs* inputs, int64_t* bytes) {
  return vlp::bindings::guarded(
      [&] { *bytes = static_cast<int64_t>(loss->loss->block_saved_bytes(*inputs)); });
}

VlpStatus vlp_loss_accumulate(const VlpLoss* loss, VlpDevice* device, const VlpInputs* inputs,
                              const VlpArrays* outputs, const VlpArrays* sums, int32_t add,
                              const VlpSaved* saved) {
  return vlp::bindings::guarded(
      [&] { loss->loss->accumulate(*device->device, *inputs, *outputs, *sums, add, *saved); });
}

VlpStatus vlp_loss_merge(const VlpLoss* loss, VlpDevice* device, const VlpArrays* from, const VlpArrays* to) {
  return vlp::bindings::guarded([&] { loss->loss->merge(*device->device, *from, *to); });
}

VlpStatus vlp_loss_finish(const VlpLoss* loss, VlpDevice* device, const VlpNumber* block, int64_t block_count,
                          const VlpArrays* sums, const VlpArrays* outputs) {
  return vlp::bindings::guarded([&] {
    loss->loss->finish(*device->device, {block, static_cast<std::size_t>(block_count)}, *sums, *outputs);
  });
}

VlpStatus vlp_loss_differentiate(const VlpLoss* loss, VlpDevice* device, const VlpInputs* inputs,
                                 const VlpArrays* sums, const VlpSaved* saved, double upstream,
                                 const VlpGradients* gradients) {
  return vlp::bindings::guarded(
      [&] { loss->loss->differentiate(*device->device, *inputs, *sums, *saved, upstream, *gradients); });
}
