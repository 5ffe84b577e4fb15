/// \file
/// The summariser of the first stage as the teacher of the second.
#pragma once

#include <vlp/core/device.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/view.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/parameters.hpp>
#include <vlp/models/dual_encoder.hpp>
#include <vlp/models/report_decoder.hpp>
#include <vlp/models/summariser.hpp>

#include <map>
#include <string_view>

namespace vlp::tasks::detail {

/// A Summariser read from a file, which is asked and never trained.
template <class Scalar, class Device>
class Teacher {
 public:
  using Model = models::Summariser<Scalar, Device>;

  /// Throws std::runtime_error, naming the file, where it cannot be read or holds another model.
  Teacher(Device& device, const models::DualEncoderOptions& options, const models::DecoderShape& shape,
          const io::Path& file)
      : model_(options, shape, 0), parameters_(device, model_) {
    static_cast<void>(io::read_parameters(device, file, parameters_.list(), {.ignore = {"optimiser"}}));
  }
  Teacher(const Teacher&) = delete;  // parameters_ points into it
  Teacher& operator=(const Teacher&) = delete;

  [[nodiscard]] models::ReportDecoder<Scalar, Device>& decoder() { return model_.decoder(); }
  [[nodiscard]] const Parameters<Scalar, Device>& parameters() const { return parameters_; }

  /// The features [T, width] that its decoder gives to the beginnings of impressions, in device memory until
  /// the next call.
  MatrixView<const Scalar> hidden(Device& device, const typename Model::Inputs& in) {
    const auto out = hidden_.reshape(in.tokens.count(), model_.width());
    model_.forward(device, in, out);
    return out;
  }

  /// Sets every parameter of the list that it has by that name to its own value.
  void copy_to(Device& device, const ParameterList<Scalar, Device>& list) const {
    std::map<std::string_view, const Parameter<Scalar, Device>*> own;
    for (const auto& [name, parameter] : parameters_.list()) own.emplace(name, parameter);
    for (const auto& [name, parameter] : list)
      if (const auto found = own.find(name); found != own.end())
        copy(device, found->second->value().data(), parameter->size(), parameter->value().data());
  }

 private:
  Model model_;
  Parameters<Scalar, Device> parameters_;
  typename Device::template Buffer<Scalar> hidden_;
};

}  // namespace vlp::tasks::detail
