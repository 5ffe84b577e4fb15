// A second translation unit with the same headers: nothing in them may be defined twice.
#include "shared.hpp"

#include <vlp/io/csv.hpp>
#include <vlp/io/image.hpp>
#include <vlp/io/npy.hpp>
#include <vlp/io/safetensors.hpp>
#include <vlp/text/normalise.hpp>
#include <vlp/vlp.hpp>

#include <span>

bool safetensors_from_another_file(const std::filesystem::path& path, const std::vector<float>& values) {
  const vlp::io::TensorRef tensor = vlp::io::tensor_ref("values", std::span(values), {2, 3});
  vlp::io::write_safetensors(path, std::span(&tensor, 1));
  return vlp::io::read_safetensors(path).values<float>("values") == values;
}
