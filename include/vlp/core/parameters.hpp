/// \file
/// Learned parameters: how layers declare them, and the one memory that holds all of a model's.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/detail/extents.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp {

/// Tells whether weight decay applies: to matrices of products and convolutions; not to biases, gains of
/// norms, position and type embeddings and scales.
enum class WeightDecay { no, yes };

template <class Scalar, class Device>
class Parameters;

namespace detail {
/// `size` elements with the padding behind them: up to a multiple of 64 bytes.
template <class Scalar>
constexpr Index padded_size(Index size) {
  constexpr auto multiple = static_cast<Index>(memory_alignment / sizeof(Scalar));
  return (size + multiple - 1) / multiple * multiple;
}
}  // namespace detail

/// An array that is learned, with its gradient (which backward passes add to).
///
/// A layer declares it with its extents and initial values, which wait on the host. `Parameters` gives it
/// device memory and copies the values there; until then a layer cannot be used.
template <class Scalar, class Device = Cpu>
class Parameter {
 public:
  Parameter() = default;
  /// `initial` everywhere, of the given extents. Throws std::invalid_argument for a negative extent and for
  /// extents whose product is beyond all memory.
  explicit Parameter(std::vector<Index> extents, WeightDecay decay = WeightDecay::no,
                     Scalar initial = Scalar(0))
      : extents_(std::move(extents)),
        weight_decay_(decay),
        size_(detail::checked_size("Parameter", extents_)) {
    detail::checked_bytes<Scalar>("Parameter", size_);
    staged_.assign(static_cast<std::size_t>(size_), initial);
  }
  Parameter(Parameter&&) noexcept = default;
  Parameter& operator=(Parameter&&) noexcept = default;

  [[nodiscard]] const std::vector<Index>& extents() const noexcept { return extents_; }
  [[nodiscard]] WeightDecay weight_decay() const noexcept { return weight_decay_; }
  /// Product of the extents.
  [[nodiscard]] Index size() const noexcept { return size_; }
  /// Tells whether it has device memory.
  [[nodiscard]] bool is_placed() const noexcept { return value_ != nullptr; }

  /// Makes each initial value in turn what `next()` gives. Throws std::invalid_argument once the parameter
  /// has device memory.
  template <class Next>
  void initialise(Next&& next) {
    require(!is_placed(), "Parameter: ", described(), " is initialised after it was given memory");
    for (Scalar& value : staged_) value = static_cast<Scalar>(next());
  }

  /// The values and their gradients in device memory, [size()]. Throw std::invalid_argument before there is
  /// any.
  [[nodiscard]] VectorView<Scalar> value() const { return {placed(value_), {size_}}; }
  [[nodiscard]] VectorView<Scalar> gradient() const { return {placed(gradient_), {size_}}; }

  /// The same as matrices [extents[0], product of the other extents].
  [[nodiscard]] MatrixView<const Scalar> matrix() const { return {placed(value_), matrix_extents()}; }
  [[nodiscard]] MatrixView<Scalar> gradient_matrix() const { return {placed(gradient_), matrix_extents()}; }

 private:
  friend class Parameters<Scalar, Device>;

  Scalar* placed(Scalar* memory) const {
    require(memory != nullptr, "Parameter: ", described(),
            " has no memory yet; make Parameters of its model before the model is used");
    return memory;
  }

  [[nodiscard]] std::string described() const {
    std::string out;
    for (Index extent : extents_) out += concat(out.empty() ? "[" : ", ", extent);
    return out.empty() ? std::string("one without extents") : out + "]";
  }

  [[nodiscard]] std::array<Index, 2> matrix_extents() const {
    return {extents_[0], extents_[0] == 0 ? 0 : size_ / extents_[0]};
  }

  std::vector<Index> extents_;
  WeightDecay weight_decay_ = WeightDecay::no;
  Index size_ = 0;
  std::vector<Scalar> staged_;  // initial values, until there is device memory
  Scalar* value_ = nullptr;
  Scalar* gradient_ = nullptr;
};

/// A parameter and its dotted name within a model, e.g. "text.block0.attention.query_key_value.weight".
template <class Scalar, class Device = Cpu>
struct NamedParameter {
  std::string name;
  Parameter<Scalar, Device>* parameter;
};

/// Parameters in a fixed order: all of a model, or those of them that are trained. Points into the models it
/// was made from, which must outlive it and stay where they are.
template <class Scalar, class Device = Cpu>
using ParameterList = std::vector<NamedParameter<Scalar, Device>>;

/// Appends the parameters of `model` (anything with `for_each_parameter(prefix, visit)`), named under
/// `prefix`.
template <class Scalar, class Device, class Model>
void append_parameters(ParameterList<Scalar, Device>& list, std::string_view prefix, Model& model) {
  model.for_each_parameter(prefix, [&](const std::string& name, Parameter<Scalar, Device>& parameter) {
    list.push_back({name, &parameter});
  });
}

/// The memory of a model's parameters: one array for all values and one for all gradients, so that one fill
/// clears all gradients and one reduction sums them over ranks. Each parameter begins at a multiple of 64
/// bytes; padding is zero.
///
/// The model must outlive it, stay where it is, and be used no longer than it. Moving the Parameters leaves
/// all pointers valid.
template <class Scalar, class Device = Cpu>
class Parameters {
 public:
  /// Gives memory to all parameters of `model` (anything with `for_each_parameter(prefix, visit)`), named
  /// under `prefix`, and copies their initial values there. Throws std::invalid_argument for a parameter that
  /// the model visits twice or that has memory already; then no parameter was given any.
  template <class Model>
  Parameters(Device& device, Model& model, std::string_view prefix = "") {
    append_parameters(list_, prefix, model);
    check();
    Index total = 0;
    for (const auto& named : list_) {
      total += detail::padded_size<Scalar>(named.parameter->size());
      size_ += named.parameter->size();
    }
    Scalar* const value = values_.resize(total);
    fill(device, value, total, Scalar(0));
    Scalar* const gradient = gradients_.resize(total);
    fill(device, gradient, total, Scalar(0));
    Index at = 0;
    for (const auto& named : list_) {
      Parameter<Scalar, Device>& parameter = *named.parameter;
      upload(device, std::span<const Scalar>(parameter.staged_), value + at);
      parameter.staged_ = {};
      parameter.value_ = value + at;
      parameter.gradient_ = gradient + at;
      at += detail::padded_size<Scalar>(parameter.size());
    }
  }

  /// All parameters, in the order in which the model visits them.
  [[nodiscard]] const ParameterList<Scalar, Device>& list() const noexcept { return list_; }
  /// All values, and all gradients, in device memory, padding included.
  [[nodiscard]] VectorView<Scalar> values() const noexcept { return {values_.data(), {values_.size()}}; }
  [[nodiscard]] VectorView<Scalar> gradients() const noexcept {
    return {gradients_.data(), {gradients_.size()}};
  }
  /// Learned numbers, without padding.
  [[nodiscard]] Index size() const noexcept { return size_; }

  /// Sets all gradients to zero.
  void zero_gradients(Device& device) { fill(device, gradients_.data(), gradients_.size(), Scalar(0)); }

 private:
  void check() const {
    std::unordered_map<const void*, std::string_view> names;
    for (const auto& [name, parameter] : list_) {
      require(!parameter->is_placed(), "Parameters: '", name,
              "' has memory already; the Parameters of a model are made once");
      const auto [at, is_new] = names.emplace(parameter, name);
      require(is_new, "Parameters: '", at->second, "' and '", name, "' are the same parameter");
    }
  }

  ParameterList<Scalar, Device> list_;
  typename Device::template Buffer<Scalar> values_, gradients_;
  Index size_ = 0;
};

/// Copies of a parameter's values and of its gradient on the host.
template <class Scalar, class Device>
[[nodiscard]] std::vector<Scalar> download_value(Device& device, const Parameter<Scalar, Device>& parameter) {
  std::vector<Scalar> out(static_cast<std::size_t>(parameter.size()));
  download(device, parameter.value().data(), std::span<Scalar>(out));
  return out;
}
template <class Scalar, class Device>
[[nodiscard]] std::vector<Scalar> download_gradient(Device& device,
                                                    const Parameter<Scalar, Device>& parameter) {
  std::vector<Scalar> out(static_cast<std::size_t>(parameter.size()));
  download(device, parameter.gradient().data(), std::span<Scalar>(out));
  return out;
}

/// Sets a parameter's values to `host`. Throws std::invalid_argument unless it has parameter.size() elements.
template <class Scalar, class Device>
void upload_value(Device& device, Parameter<Scalar, Device>& parameter,
                  std::span<const std::type_identity_t<Scalar>> host) {
  require(static_cast<Index>(host.size()) == parameter.size(), "upload_value: ", host.size(),
          " values for a parameter of ", parameter.size());
  upload(device, host, parameter.value().data());
}

/// "prefix.name", or "name" without a prefix.
[[nodiscard]] inline std::string join_names(std::string_view prefix, std::string_view name) {
  std::string out(prefix);
  if (!out.empty()) out += '.';
  return out += name;
}

}  // namespace vlp
