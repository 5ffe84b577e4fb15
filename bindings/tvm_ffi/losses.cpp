// vlp's losses as functions of tvm-ffi, which every framework that speaks DLPack can call: the passes of
// vlp_ops.h on tensors. Compiled for the CPU, and with VLP_OPS_CUDA for CUDA devices.
#include "devices.hpp"
#include "in_call.hpp"
#include "status.hpp"
#include "vlp_ops.h"

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/shape.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/dtype.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/string.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace vlp::bindings {
namespace {

namespace ffi = tvm::ffi;
using Texts = ffi::Array<ffi::String>;
using Names = std::vector<std::string>;

/// Throws TypeError with a sentence of these parts.
template <class... Part>
[[noreturn]] void refuse(const Part&... parts) {
  std::ostringstream sentence;
  (sentence << ... << parts);
  throw ffi::Error("TypeError", sentence.str(), "");
}

Names names_of(const Texts& texts) {
  return {texts.begin(), texts.end()};
}

/// The arguments of a call, taken from first to last.
class Arguments {
 public:
  Arguments(std::string_view loss, ffi::PackedArgs given) : loss_(loss), given_(given) {}

  ffi::AnyView next(std::string_view name) {
    if (taken_ == given_.size()) refuse(loss_, ": ", name, " is not given");
    return given_[taken_++];
  }

  template <class T>
  T next(std::string_view name, std::string_view kind) {
    const ffi::AnyView given = next(name);
    std::optional<T> value = given.try_cast<T>();
    if (!value) refuse(loss_, ": ", name, " must be ", kind, ", but is of type ", given.GetTypeKey());
    return *std::move(value);
  }

  void check_end() const {
    if (taken_ != given_.size())
      refuse(loss_, ": takes ", taken_, " arguments, but ", given_.size(), " are given");
  }

 private:
  std::string_view loss_;
  ffi::PackedArgs given_;
  int taken_ = 0;
};

/// The arrays of one call: tensors as vlp_ops.h describes them.
class Arrays {
 public:
  static constexpr std::size_t most = 32;

  explicit Arrays(std::string_view loss) : loss_(loss) {}

  /// Takes a tensor, or None, for each name. Where types are given, elements must be of them.
  VlpArrays take(Arguments& arguments, const Names& names, const std::vector<DLDataType>* types = nullptr) {
    const std::size_t first = count_;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto tensor = arguments.next<ffi::Optional<ffi::TensorView>>(names[i], "a tensor or None");
      if (!tensor) continue;
      const VlpArray& array = add(names[i], *tensor);
      if (types != nullptr) check_type(array, (*types)[i]);
    }
    return {arrays_.data() + first, static_cast<std::int64_t>(count_ - first)};
  }

  /// Takes a shape, or None, for each name: arrays whose elements are never read.
  VlpArrays take_shapes(Arguments& arguments, const Names& names, const std::vector<DLDataType>& types) {
    const std::size_t first = count_;
    shapes_.reserve(names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      auto shape = arguments.next<ffi::Optional<ffi::Shape>>(names[i], "a shape or None");
      if (!shape) continue;
      const ffi::Shape& kept = shapes_.emplace_back(*std::move(shape));
      next_place() = {
          names[i].c_str(), nullptr, types[i].code, types[i].bits, static_cast<std::int32_t>(kept.size()),
          kept.data(),      nullptr};
    }
    return {arrays_.data() + first, static_cast<std::int64_t>(count_ - first)};
  }

  /// Takes the memory for what a forward saves.
  VlpSaved take_saved(Arguments& arguments) {
    const auto tensor = arguments.next<ffi::TensorView>("saved", "a tensor");
    check_place("saved", tensor);
    if (tensor.dtype().bits != 8 || tensor.ndim() != 1 || !tensor.IsContiguous())
      refuse(loss_, ": saved must be contiguous bytes");
    // No bytes may lie anywhere.
    return {tensor.numel() == 0 ? nullptr : data_of(tensor), tensor.numel()};
  }

  /// The id of the device of the call's tensors.
  [[nodiscard]] int device_id() const { return device_id_.value_or(0); }

 private:
  static void* data_of(const ffi::TensorView& tensor) {
    return static_cast<std::byte*>(tensor.data_ptr()) + tensor.byte_offset();
  }

  VlpArray& next_place() {
    if (count_ == most) refuse(loss_, ": takes at most ", most, " arrays");
    return arrays_[count_++];
  }

  void check_place(std::string_view name, const ffi::TensorView& tensor) {
    const DLDevice where = tensor.device();
    if (!is_reachable(where.device_type))
      refuse(loss_, ": ", name, " is not on ", library_device == kDLCPU ? "the CPU" : "a CUDA device");
    const int id = library_device == kDLCPU ? 0 : where.device_id;
    if (device_id_.value_or(id) != id)
      refuse(loss_, ": ", name, " is on CUDA device ", id, ", but arrays before it are on ", *device_id_);
    device_id_ = id;
  }

  VlpArray& add(const std::string& name, const ffi::TensorView& tensor) {
    check_place(name, tensor);
    const DLDataType type = tensor.dtype();
    if (type.lanes != 1) refuse(loss_, ": ", name, " has vectors of ", type.lanes, " numbers for elements");
    VlpArray& array = next_place();
    const bool is_number = tensor.ndim() == 0;
    array = {name.c_str(),
             data_of(tensor),
             type.code,
             type.bits,
             tensor.ndim(),
             is_number ? nullptr : tensor.shape().data(),
             is_number ? nullptr : tensor.strides().data()};
    // A framework without 64-bit integers passes two of 32 bits for each, the low half first.
    if (type.code == kDLInt && type.bits == 32 && !is_number && array.extents[array.rank - 1] == 2 &&
        tensor.IsContiguous()) {
      array.type_bits = 64;
      --array.rank;
      array.strides = nullptr;
    }
    check_boundary(array);
    return array;
  }

  void check_boundary(const VlpArray& array) const {
    const std::uintptr_t bytes = std::max<std::uintptr_t>(array.type_bits / 8, 1);
    if (reinterpret_cast<std::uintptr_t>(array.data) % bytes == 0) return;
    std::ostringstream sentence;
    sentence << loss_ << ": " << array.name << " does not lie on a boundary of " << bytes << " bytes";
    throw ffi::Error("ValueError", sentence.str(), "");
  }

  void check_type(const VlpArray& array, DLDataType type) const {
    const bool is_bool = array.type_code == kDLBool && type.code == kDLUInt && array.type_bits == 8;
    if (is_bool || (array.type_code == type.code && array.type_bits == type.bits)) return;
    const DLDataType given{array.type_code, array.type_bits, 1};
    refuse(loss_, ": ", array.name, " has elements of type ", ffi::DLDataTypeToString(given), ", not ",
           ffi::DLDataTypeToString(type));
  }

  std::string_view loss_;
  std::array<VlpArray, most> arrays_;
  std::size_t count_ = 0;
  std::vector<ffi::Shape> shapes_;
  std::optional<int> device_id_;
};

struct FreeLoss {
  void operator()(VlpLoss* loss) const { vlp_loss_free(loss); }
};

/// Numbers of the inputs, taken for each name.
class Numbers {
 public:
  Numbers(Arguments& arguments, const Names& names) {
    values_.reserve(names.size());
    for (const std::string& name : names)
      values_.push_back({name.c_str(), arguments.next<std::int64_t>(name, "a whole number")});
  }

  [[nodiscard]] const VlpNumber* data() const { return values_.data(); }
  [[nodiscard]] std::int64_t count() const { return static_cast<std::int64_t>(values_.size()); }

 private:
  std::vector<VlpNumber> values_;
};

/// A loss, and the names that the arguments of its passes go by. Constant, so that threads may share it.
struct PreparedLoss {
  std::string name;
  std::unique_ptr<VlpLoss, FreeLoss> loss;
  Names numbers, inputs, sums, outputs, gradients;
  std::vector<DLDataType> types;  ///< of the inputs
  bool add = false;               ///< adds to sums and gradients, and does not replace what they hold
};

/// The arguments of one call, in the order in which every pass takes them:
///   threads, numbers, [upstream], inputs, [sums], [saved, of a pass that reads it], [outputs], [gradients],
///   [saved, of a pass that writes it].
class Call {
 public:
  Call(const PreparedLoss& prepared, ffi::PackedArgs given)
      : prepared_(&prepared),
        arguments_(prepared.name, given),
        threads_(arguments_.next<std::int64_t>("threads", "a whole number")),
        numbers_(arguments_, prepared.numbers),
        arrays_(prepared.name) {}

  double upstream() { return arguments_.next<double>("upstream", "a number"); }
  VlpInputs inputs() {
    return {arrays_.take(arguments_, prepared_->inputs, &prepared_->types), numbers_.data(),
            numbers_.count()};
  }
  VlpInputs shapes() {
    return {arrays_.take_shapes(arguments_, prepared_->inputs, prepared_->types), numbers_.data(),
            numbers_.count()};
  }
  VlpArrays sums() { return arrays_.take(arguments_, prepared_->sums); }
  VlpArrays outputs() { return arrays_.take(arguments_, prepared_->outputs); }
  VlpGradients gradients() { return {arrays_.take(arguments_, prepared_->gradients), add()}; }
  VlpSaved saved() { return arrays_.take_saved(arguments_); }
  [[nodiscard]] const Numbers& numbers() const { return numbers_; }
  [[nodiscard]] std::int32_t add() const { return prepared_->add ? 1 : 0; }
  [[nodiscard]] const VlpLoss* loss() const { return prepared_->loss.get(); }

  /// Calls run(device), whose result is a status, once all arguments are taken.
  template <class Run>
  void on_device(Run&& run) {
    arguments_.check_end();
    with_device(arrays_.device_id(), threads_, [&](VlpDevice* device) { check(run(device)); });
  }

 private:
  const PreparedLoss* prepared_;
  Arguments arguments_;
  std::int64_t threads_;
  Numbers numbers_;
  Arrays arrays_;
};

std::int64_t saved_bytes(Call& call) {
  std::int64_t bytes = 0;
  const VlpInputs inputs = call.shapes();
  check(vlp_loss_saved_bytes(call.loss(), &inputs, &bytes));
  return bytes;
}

std::int64_t block_saved_bytes(Call& call) {
  std::int64_t bytes = 0;
  const VlpInputs inputs = call.shapes();
  check(vlp_loss_block_saved_bytes(call.loss(), &inputs, &bytes));
  return bytes;
}

void forward(Call& call) {
  const VlpInputs inputs = call.inputs();
  const VlpArrays outputs = call.outputs();
  const VlpSaved saved = call.saved();
  call.on_device(
      [&](VlpDevice* device) { return vlp_loss_forward(call.loss(), device, &inputs, &outputs, &saved); });
}

void backward(Call& call) {
  const double upstream = call.upstream();
  const VlpInputs inputs = call.inputs();
  const VlpSaved saved = call.saved();
  const VlpGradients gradients = call.gradients();
  call.on_device([&](VlpDevice* device) {
    return vlp_loss_backward(call.loss(), device, &inputs, &saved, upstream, &gradients);
  });
}

void forward_backward(Call& call) {
  const double upstream = call.upstream();
  const VlpInputs inputs = call.inputs();
  const VlpArrays outputs = call.outputs();
  const VlpGradients gradients = call.gradients();
  call.on_device([&](VlpDevice* device) {
    return vlp_loss_forward_backward(call.loss(), device, &inputs, upstream, &outputs, &gradients);
  });
}

void accumulate(Call& call) {
  const VlpInputs inputs = call.inputs();
  const VlpArrays sums = call.sums();
  const VlpArrays outputs = call.outputs();
  const VlpSaved saved = call.saved();
  call.on_device([&](VlpDevice* device) {
    return vlp_loss_accumulate(call.loss(), device, &inputs, &outputs, &sums, call.add(), &saved);
  });
}

/// Takes the sums twice: those that are added, and those that they are added to.
void merge(Call& call) {
  const VlpArrays from = call.sums();
  const VlpArrays to = call.sums();
  call.on_device([&](VlpDevice* device) { return vlp_loss_merge(call.loss(), device, &from, &to); });
}

void finish(Call& call) {
  const VlpArrays sums = call.sums();
  const VlpArrays outputs = call.outputs();
  call.on_device([&](VlpDevice* device) {
    return vlp_loss_finish(call.loss(), device, call.numbers().data(), call.numbers().count(), &sums,
                           &outputs);
  });
}

void differentiate(Call& call) {
  const double upstream = call.upstream();
  const VlpInputs inputs = call.inputs();
  const VlpArrays sums = call.sums();
  const VlpSaved saved = call.saved();
  const VlpGradients gradients = call.gradients();
  call.on_device([&](VlpDevice* device) {
    return vlp_loss_differentiate(call.loss(), device, &inputs, &sums, &saved, upstream, &gradients);
  });
}

/// A pass as a function of packed arguments, which keeps what it is of.
template <class Pass>
ffi::Function function_of(std::shared_ptr<const PreparedLoss> prepared, Pass pass) {
  return ffi::Function::FromPacked(
      [prepared = std::move(prepared), pass](ffi::PackedArgs given, ffi::Any* result) {
        const InCall in_call;
        Call call(*prepared, given);
        if constexpr (std::is_void_v<decltype(pass(call))>)
          pass(call);
        else
          *result = pass(call);
      });
}

/// The pass of that name.
ffi::Function pass_of(std::shared_ptr<const PreparedLoss> prepared, const ffi::String& pass) {
  if (pass == "saved_bytes") return function_of(std::move(prepared), saved_bytes);
  if (pass == "block_saved_bytes") return function_of(std::move(prepared), block_saved_bytes);
  if (pass == "forward") return function_of(std::move(prepared), forward);
  if (pass == "backward") return function_of(std::move(prepared), backward);
  if (pass == "forward_backward") return function_of(std::move(prepared), forward_backward);
  if (pass == "accumulate") return function_of(std::move(prepared), accumulate);
  if (pass == "merge") return function_of(std::move(prepared), merge);
  if (pass == "finish") return function_of(std::move(prepared), finish);
  if (pass == "differentiate") return function_of(std::move(prepared), differentiate);
  throw ffi::Error("ValueError", prepared->name + ": has no pass " + std::string(pass), "");
}

/// A pass of the loss `name` of numbers of `type`, as a function; see Call for its arguments. `options` are
/// names and values in turn; `types` are those of the inputs, by DLPack's names.
ffi::Function prepare(const ffi::String& name, const ffi::String& type, const Texts& options,
                      const ffi::String& pass, const Texts& numbers, const Texts& inputs, const Texts& types,
                      const Texts& sums, const Texts& outputs, const Texts& gradients, bool add) {
  const InCall in_call;
  auto out = std::make_shared<PreparedLoss>();
  out->name = name;
  out->numbers = names_of(numbers);
  out->inputs = names_of(inputs);
  out->sums = names_of(sums);
  out->outputs = names_of(outputs);
  out->gradients = names_of(gradients);
  out->add = add;
  for (const ffi::String& one : types) out->types.push_back(ffi::StringToDLDataType(one));
  if (out->types.size() != out->inputs.size())
    refuse(name, ": ", out->types.size(), " types are given for ", out->inputs.size(), " inputs");

  const Names texts = names_of(options);
  if (texts.size() % 2 != 0) refuse(name, ": the option ", texts.back(), " has no value");
  std::vector<VlpOption> given;
  for (std::size_t i = 0; i < texts.size(); i += 2) given.push_back({texts[i].c_str(), texts[i + 1].c_str()});
  VlpLoss* made = nullptr;
  check(vlp_loss_make(name.c_str(), type.c_str(), given.data(), static_cast<std::int64_t>(given.size()),
                      &made));
  out->loss.reset(made);
  return pass_of(std::move(out), pass);
}

ffi::String describe() {
  const char* text = vlp_ops_describe();
  if (text == nullptr) check(VLP_NO_MEMORY);
  return text;
}

}  // namespace
}  // namespace vlp::bindings

TVM_FFI_DLL_EXPORT_TYPED_FUNC(describe, vlp::bindings::describe);
TVM_FFI_DLL_EXPORT_TYPED_FUNC(prepare, vlp::bindings::prepare);
TVM_FFI_DLL_EXPORT_TYPED_FUNC(interpreter_ends, vlp::bindings::InCall::interpreter_ends);
