/// \file
/// A model's weights in safetensors files, without the run that made them, so that another configuration,
/// stage or task can start from them, or a model from another library's weights.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/detail/parameter_plan.hpp>
#include <vlp/io/detail/weight_files.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/parameter_rules.hpp>
#include <vlp/io/safetensors.hpp>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace vlp::io {

namespace detail {

/// A parameter as files see it: its name, its extents and the way of its values to and from the host.
template <class Scalar>
struct HostTensor {
  Target target;
  std::size_t size;
  std::function<std::vector<Scalar>()> get;
  std::function<void(std::span<const Scalar>)> set;
};

/// The parameters of the list as host tensors, which point to them and to the device. Throws
/// std::invalid_argument for a parameter without memory.
template <class Scalar, class Device>
[[nodiscard]] std::vector<HostTensor<Scalar>> host_tensors(Device& device,
                                                           const ParameterList<Scalar, Device>& list) {
  std::vector<HostTensor<Scalar>> out;
  for (const auto& [name, parameter] : list) {
    auto* const p = parameter;
    require(p->is_placed(), "parameter '", name, "' has no memory yet: make the model's Parameters first");
    out.push_back({{name, p->extents()},
                   static_cast<std::size_t>(p->size()),
                   [&device, p] { return download_value(device, *p); },
                   [&device, p](std::span<const Scalar> from) { upload_value(device, *p, from); }});
  }
  return out;
}

}  // namespace detail

/// Writes the values of the parameters under their names, as F32 for float and F64 for double, atomically
/// (see write_file). Throws std::invalid_argument for a name that occurs twice and std::runtime_error when
/// the file cannot be written; then a file that was there stays as it was.
template <class Scalar, class Device>
void write_parameters(Device& device, const Path& path, const ParameterList<Scalar, Device>& list,
                      const Metadata& metadata = {}) {
  std::vector<std::vector<Scalar>> values;
  std::vector<TensorRef> tensors;
  for (const auto& tensor : detail::host_tensors(device, list)) {
    values.push_back(tensor.get());
    tensors.push_back(
        tensor_ref(tensor.target.name, std::span<const Scalar>(values.back()), tensor.target.extents));
  }
  write_safetensors(path, tensors, metadata);
}

/// Reads values of the parameters from a safetensors file, or from the shards of a Hugging Face model by its
/// index ("model.safetensors.index.json"), all of which are in memory meanwhile. Tensors are found by name,
/// after the rules of the options, and converted to `Scalar` where it holds them (see holds_values_of): a
/// float model reads F32, F16 and BF16, a double model F64 as well. Parameters that are not read keep their
/// values, and gradients and optimisers are left alone.
///
/// Throws std::invalid_argument for options that contradict one another or a name that is in the list twice,
/// and std::runtime_error, naming the file, if it cannot be read, if two of its tensors become one parameter,
/// if something does not fit and the policy is `exact`, or if nothing fits. Whatever is thrown, every
/// parameter is as it was.
template <class Scalar, class Device>
ReadParametersReport read_parameters(Device& device, const Path& path,
                                     const ParameterList<Scalar, Device>& list,
                                     const ReadParametersOptions& options = {}) {
  const auto tensors = detail::host_tensors(device, list);
  std::vector<detail::Target> targets;
  std::size_t largest = 0;
  for (const auto& tensor : tensors) {
    targets.push_back(tensor.target);
    largest = std::max(largest, tensor.size);
  }
  const detail::WeightFiles files(path);
  detail::ReadingPlan plan = detail::plan_reading<Scalar>(files, targets, options);
  const std::string complaint = detail::complaint(plan.report);
  ensure(complaint.empty() || options.policy == ReadPolicy::what_fits, files.path(),
         ": does not fit the model: ", complaint);
  ensure(!plan.readings.empty() || list.empty(), files.path(), ": nothing fits the model: ", complaint);
  // All memory is taken before the first parameter changes: from here on nothing fails.
  std::vector<Scalar> values(largest);
  for (const detail::Reading& reading : plan.readings) {
    const auto& tensor = tensors[reading.target];
    std::size_t at = 0;
    for (const std::string& part : reading.parts) {
      const SafeTensors& file = files.file_of(part);
      file.copy_to(part, std::span(values).subspan(at, file.size(part)));
      at += file.size(part);
    }
    tensor.set(std::span<const Scalar>(values).first(tensor.size));
  }
  return std::move(plan.report);
}

/// A sentence for the user: "66 parameters are read; 2 parameters are not in the file (...)".
[[nodiscard]] inline std::string text_of(const ReadParametersReport& report) {
  const std::string rest = detail::complaint(report);
  return concat(report.read.size(), " parameters are read", rest.empty() ? "" : "; ", rest);
}

}  // namespace vlp::io
