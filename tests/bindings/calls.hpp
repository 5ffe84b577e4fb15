/// \file
/// Calls of the C interface on the arrays of a LossCase, whatever the loss.
#pragma once

#include "bindings/c/arrays.hpp"
#include "bindings/c/vlp_ops.h"
#include "losses/every_loss.hpp"
#include "support/catch.hpp"
#include "support/loss_case.hpp"

#include <vlp/core/buffer.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/loss.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::test {

struct FreeDevice {
  void operator()(VlpDevice* device) const { vlp_device_free(device); }
};
struct FreeLoss {
  void operator()(VlpLoss* loss) const { vlp_loss_free(loss); }
};
using CDevice = std::unique_ptr<VlpDevice, FreeDevice>;
using CLoss = std::unique_ptr<VlpLoss, FreeLoss>;

inline CDevice make_c_device(int threads = 1) {
  VlpDevice* device = nullptr;
  REQUIRE(vlp_device_make(threads, &device) == VLP_OK);
  return CDevice(device);
}

/// Names and texts of options.
using OptionTexts = std::vector<std::pair<std::string, std::string>>;

template <Loss L>
CLoss make_c_loss(const OptionTexts& options = {}) {
  std::vector<VlpOption> given;
  for (const auto& [name, text] : options) given.push_back({name.c_str(), text.c_str()});
  VlpLoss* loss = nullptr;
  const std::string type(bindings::element_type<typename L::Scalar>.name);
  const VlpStatus status = vlp_loss_make(std::string(L::name).c_str(), type.c_str(), given.data(),
                                         static_cast<std::int64_t>(given.size()), &loss);
  INFO(vlp_ops_error());
  REQUIRE(status == VLP_OK);
  return CLoss(loss);
}

/// Arrays for the C interface, with the memory that descriptions point to.
class CArrays {
 public:
  template <class T, std::size_t Rank>
  void add(std::string_view name, const View<T, Rank>& view) {
    if (!view.given()) return;
    auto& sizes = sizes_.emplace_back();
    sizes.assign(view.extents().begin(), view.extents().end());
    sizes.insert(sizes.end(), view.strides().begin(), view.strides().end());
    add<T>(name, view.data(), static_cast<std::int32_t>(Rank), sizes.data(), sizes.data() + Rank);
  }
  template <class T>
  void add(std::string_view name, const std::span<T>& ids) {
    if (ids.empty()) return;
    const auto& sizes = sizes_.emplace_back(1, static_cast<std::int64_t>(ids.size()));
    add<T>(name, ids.data(), 1, sizes.data(), nullptr);
  }
  template <class T>
  void add(std::string_view name, T* const& number) {
    if (number != nullptr) add<T>(name, number, 0, nullptr, nullptr);
  }

  [[nodiscard]] VlpArrays get() const { return {arrays_.data(), static_cast<std::int64_t>(arrays_.size())}; }
  [[nodiscard]] std::vector<VlpArray>& arrays() noexcept { return arrays_; }

 private:
  template <class T>
  void add(std::string_view name, T* data, std::int32_t rank, const std::int64_t* extents,
           const std::int64_t* strides) {
    constexpr bindings::ElementType type = bindings::element_type<std::remove_const_t<T>>;
    arrays_.push_back({names_.emplace_back(name).c_str(), const_cast<std::remove_const_t<T>*>(data),
                       type.code, type.bits, rank, extents, strides});
  }

  std::list<std::string> names_;
  std::list<std::vector<std::int64_t>> sizes_;
  std::vector<VlpArray> arrays_;
};

/// The inputs of a loss, with all numbers that the host knows.
template <Loss L>
class CInputs {
 public:
  explicit CInputs(const typename L::Inputs& inputs) {
    typename L::Inputs given = inputs;
    typename L::Gradients none{};
    L::for_each_input(given, none,
                      [&](std::string_view name, auto& input, auto&...) { arrays_.add(name, input); });
    L::for_each_host_number(given, [&](std::string_view name, Index value) {
      numbers_.push_back({names_.emplace_back(name).c_str(), value});
    });
  }
  [[nodiscard]] VlpInputs get() const {
    return {arrays_.get(), numbers_.data(), static_cast<std::int64_t>(numbers_.size())};
  }
  [[nodiscard]] CArrays& arrays() noexcept { return arrays_; }

 private:
  CArrays arrays_;
  std::list<std::string> names_;
  std::vector<VlpNumber> numbers_;
};

/// The gradients of a loss.
template <Loss L>
CArrays c_gradients(const typename L::Gradients& gradients) {
  typename L::Inputs none{};
  typename L::Gradients given = gradients;
  CArrays out;
  L::for_each_input(none, given,
                    [&]([[maybe_unused]] std::string_view name, auto&, [[maybe_unused]] auto&... gradient) {
                      (out.add(name, gradient), ...);
                    });
  return out;
}

/// All outputs of a loss, in memory of their own.
template <Loss L>
class AllOutputs {
 public:
  explicit AllOutputs(const typename L::Inputs& inputs) {
    point(inputs, "loss", outputs.loss);
    L::for_each_output(outputs, [&](std::string_view name, auto& output) { point(inputs, name, output); });
  }
  AllOutputs(const AllOutputs&) = delete;
  AllOutputs& operator=(const AllOutputs&) = delete;

  [[nodiscard]] CArrays c_arrays() {
    CArrays out;
    out.add("loss", outputs.loss);
    L::for_each_output(outputs, [&](std::string_view name, auto& output) { out.add(name, output); });
    return out;
  }

  /// Everything that was written.
  [[nodiscard]] std::vector<double> values() const {
    std::vector<double> out;
    for (const auto& array : numbers_) out.insert(out.end(), array.begin(), array.end());
    for (const auto& array : arrays_) out.insert(out.end(), array.begin(), array.end());
    return out;
  }

  typename L::Outputs outputs{};

 private:
  using Scalar = typename L::Scalar;
  using Accumulator = typename L::Accumulator;

  template <std::size_t Rank>
  void point(const typename L::Inputs& inputs, std::string_view, View<Scalar, Rank>& output) {
    std::array<Index, Rank> extents{};
    if constexpr (Rank == 2)  // similarity
      extents = {inputs.regions.extent(0), inputs.words.extent(0)};
    else  // attention
      extents = {inputs.regions.extent(0), inputs.words.extent(1), inputs.regions.extent(1)};
    auto& memory = arrays_.emplace_back(static_cast<std::size_t>(View<Scalar, Rank>(nullptr, extents).size()),
                                        Scalar(-7));
    output = View<Scalar, Rank>(memory.data(), extents);
  }
  void point(const typename L::Inputs&, std::string_view, Accumulator*& output) {
    output = numbers_.emplace_back(1, Accumulator(-7)).data();
  }

  std::list<std::vector<Scalar>> arrays_;
  std::list<std::vector<Accumulator>> numbers_;
};

}  // namespace vlp::test
