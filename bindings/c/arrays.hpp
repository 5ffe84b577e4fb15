/// \file
/// Arrays of the C interface as views of the library.
#pragma once

#include "vlp_ops.h"

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace vlp::bindings {

/// A type by its DLPack code and bits, and as people call it.
struct ElementType {
  std::uint8_t code, bits;
  std::string_view name;
};

/// The element type of T. A source of a device with types of its own specialises it.
template <class T>
inline constexpr ElementType element_type{};
template <>
inline constexpr ElementType element_type<float>{2, 32, "float32"};
template <>
inline constexpr ElementType element_type<double>{2, 64, "float64"};
template <>
inline constexpr ElementType element_type<std::int64_t>{0, 64, "int64"};
template <>
inline constexpr ElementType element_type<std::uint8_t>{1, 8, "uint8"};

/// The name of a type of the caller's.
inline std::string type_text(const VlpArray& array) {
  switch (array.type_code) {
    case 0:
      return concat("int", int{array.type_bits});
    case 1:
      return concat("uint", int{array.type_bits});
    case 2:
      return concat("float", int{array.type_bits});
    case 4:
      return concat("bfloat", int{array.type_bits});
    case 6:
      return array.type_bits == 8 ? "bool" : concat("bool", int{array.type_bits});
    default:
      return concat("of the DLPack code ", int{array.type_code});
  }
}

/// The array has elements of type T and that many dimensions; `loss` and its name are for the message.
template <class T>
void check_array(std::string_view loss, const VlpArray& array, std::size_t rank) {
  using Element = std::remove_const_t<T>;
  constexpr ElementType type = element_type<Element>;
  constexpr bool takes_bool = std::is_same_v<Element, std::uint8_t>;
  const bool is_bool = takes_bool && array.type_code == 6 && array.type_bits == 8;
  require(is_bool || (array.type_code == type.code && array.type_bits == type.bits), loss, ": ", array.name,
          " has elements of type ", type_text(array), ", not ", type.name, takes_bool ? " or bool" : "");
  require(array.rank == static_cast<std::int32_t>(rank), loss, ": ", array.name, " has ", array.rank,
          " dimensions, not ", rank);
}

/// Points a view at the caller's array. Strides along dimensions of one element, which mean nothing and may
/// be anything, become those of contiguous memory.
template <class T, std::size_t Rank>
void point(std::string_view loss, const VlpArray& array, View<T, Rank>& view) {
  check_array<T>(loss, array, Rank);
  std::array<Index, Rank> extents{}, strides{};
  Index next = 1;
  for (std::size_t d = Rank; d-- > 0;) {
    extents[d] = array.extents[d];
    require(extents[d] >= 0, loss, ": ", array.name, " has ", extents[d], " elements along dimension ", d);
    strides[d] = array.strides == nullptr || extents[d] <= 1 ? next : array.strides[d];
    if (extents[d] > 0) next = strides[d] * extents[d];
  }
  require(strides[Rank - 1] == 1, loss, ": elements of the last dimension of ", array.name,
          " must be adjacent, but their stride is ", strides[Rank - 1]);
  view = {static_cast<T*>(array.data), extents, strides};
}

template <class T>
void point(std::string_view loss, const VlpArray& array, std::span<T>& ids) {
  VectorView<T> view;
  point(loss, array, view);
  ids = {view.data(), static_cast<std::size_t>(view.extent(0))};
}

template <class T>
void point(std::string_view loss, const VlpArray& array, T*& number) {
  check_array<T>(loss, array, 0);
  number = static_cast<T*>(array.data);
}

/// Points the members that visit(action) visits, by action(name, member), at the arrays of their names; those
/// without one stay as they are. Each array must be of a member, which messages call a `what` of the loss.
template <class Visit>
void point_all(std::string_view loss, std::string_view what, const VlpArrays& given, Visit&& visit) {
  const std::span<const VlpArray> arrays(given.arrays, static_cast<std::size_t>(given.count));
  const auto find = [&](std::string_view name) {
    return std::find_if(arrays.begin(), arrays.end(),
                        [&](const VlpArray& array) { return array.name == name; });
  };
  std::size_t taken = 0;
  visit([&](std::string_view name, auto& member) {
    const auto array = find(name);
    if (array == arrays.end()) return;
    point(loss, *array, member);
    ++taken;
  });
  if (taken == arrays.size()) [[likely]]
    return;
  for (auto array = arrays.begin(); array != arrays.end(); ++array) {
    bool is_known = false;
    visit([&](std::string_view name, auto&) { is_known = is_known || name == array->name; });
    require(is_known, loss, ": has no ", what, " ", array->name);
    require(find(array->name) == array, loss, ": the ", what, " ", array->name, " is given twice");
  }
}

}  // namespace vlp::bindings
