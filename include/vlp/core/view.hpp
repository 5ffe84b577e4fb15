/// \file
/// Non-owning row-major views, as which every array enters and leaves the library without a copy.
#pragma once

#include <vlp/core/detail/extents.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <type_traits>

namespace vlp {

/// A row-major view of `Rank` dimensions onto memory of type `T` that it does not own.
///
/// Elements of the last dimension are adjacent (stride 1); every other dimension has a stride of its own,
/// counted in elements, so that a block of a larger array (a leading column range, every k-th row) is a view
/// too. A default constructed view has no data and stands for "not given". `View<T>` converts to `View<const
/// T>`.
template <class T, std::size_t Rank>
class View {
  static_assert(Rank >= 1);

 public:
  using value_type = std::remove_const_t<T>;
  using Extents = std::array<Index, Rank>;
  static constexpr std::size_t rank = Rank;

  constexpr View() = default;

  /// Contiguous memory of the given extents. Throws std::invalid_argument for a negative extent and for
  /// extents whose product no Index holds.
  constexpr View(T* data, const Extents& extents) : data_(data), extents_(extents) {
    detail::checked_size("view", extents);
    Index stride = 1;
    for (std::size_t d = Rank; d-- > 0;) {
      strides_[d] = stride;
      stride *= extents[d];
    }
  }

  /// Memory of the given extents and strides (in elements). The last stride must be 1, unless that extent is
  /// at most 1. Throws std::invalid_argument for another one, and for extents as above.
  constexpr View(T* data, const Extents& extents, const Extents& strides)
      : data_(data), extents_(extents), strides_(strides) {
    detail::checked_size("view", extents);
    require(strides[Rank - 1] == 1 || extents[Rank - 1] <= 1,
            "view: elements of the last dimension must be adjacent, but their stride is ", strides[Rank - 1]);
    strides_[Rank - 1] = 1;
  }

  /// `View<T>` to `View<const T>`.
  template <class U>
  requires(std::is_convertible_v<U (*)[], T (*)[]> && !std::is_same_v<U, T>) constexpr View(
      const View<U, Rank>& other)  // NOLINT(google-explicit-constructor): as T* to const T*
      : View(other.data(), other.extents(), other.strides()) {}

  [[nodiscard]] constexpr T* data() const noexcept { return data_; }
  [[nodiscard]] constexpr const Extents& extents() const noexcept { return extents_; }
  [[nodiscard]] constexpr const Extents& strides() const noexcept { return strides_; }
  [[nodiscard]] constexpr Index extent(std::size_t dimension) const noexcept { return extents_[dimension]; }
  [[nodiscard]] constexpr Index stride(std::size_t dimension) const noexcept { return strides_[dimension]; }

  /// Number of rows and columns of a matrix.
  [[nodiscard]] constexpr Index rows() const noexcept requires(Rank == 2) { return extents_[0]; }
  [[nodiscard]] constexpr Index cols() const noexcept requires(Rank == 2) { return extents_[1]; }

  /// Product of the extents.
  [[nodiscard]] constexpr Index size() const noexcept {
    Index n = 1;
    for (Index e : extents_) n *= e;
    return n;
  }

  /// True for a view that was given: one that has data, whatever its extents.
  [[nodiscard]] constexpr bool given() const noexcept { return data_ != nullptr; }

  [[nodiscard]] constexpr bool contiguous() const noexcept {
    Index expected = 1;
    for (std::size_t d = Rank; d-- > 0;) {
      if (extents_[d] > 1 && strides_[d] != expected) return false;
      expected *= extents_[d];
    }
    return true;
  }

  template <class... Indices>
  requires(sizeof...(Indices) == Rank) [[nodiscard]] constexpr T& operator()(
      Indices... indices) const noexcept {
    const Extents at{static_cast<Index>(indices)...};
    Index offset = 0;
    for (std::size_t d = 0; d < Rank; ++d) offset += at[d] * strides_[d];
    return data_[offset];
  }

  /// The `i`-th slice along the first dimension: an element of a vector, a row of a matrix, a matrix of a
  /// batch.
  [[nodiscard]] constexpr decltype(auto) operator[](Index i) const noexcept {
    if constexpr (Rank == 1) {
      return (data_[i]);
    } else {
      std::array<Index, Rank - 1> extents{}, strides{};
      for (std::size_t d = 1; d < Rank; ++d) {
        extents[d - 1] = extents_[d];
        strides[d - 1] = strides_[d];
      }
      return View<T, Rank - 1>(data_ + i * strides_[0], extents, strides);
    }
  }

  /// Slices `begin` to `begin + count` of the first dimension.
  [[nodiscard]] constexpr View slice(Index begin, Index count) const noexcept {
    View out = *this;
    if (data_ != nullptr) out.data_ = data_ + begin * strides_[0];
    out.extents_[0] = count;
    return out;
  }

 private:
  T* data_ = nullptr;
  Extents extents_{};
  Extents strides_{};
};

template <class T>
using VectorView = View<T, 1>;
template <class T>
using MatrixView = View<T, 2>;
/// A batch of matrices, e.g. region features [B, R, D].
template <class T>
using BatchView = View<T, 3>;
/// A batch of channels-last images [B, H, W, C].
template <class T>
using ImageView = View<T, 4>;

/// Tells whether two indices of a view name one element, as where a stride is 0. What is written must not.
template <class T, std::size_t Rank>
requires(Rank <= 3) [[nodiscard]] constexpr bool overlaps_itself(const View<T, Rank>& view) {
  if (view.size() == 0) return false;
  const Index columns = view.extent(Rank - 1);
  const auto meet = [&](Index offset) { return -columns < offset && offset < columns; };
  for (std::size_t d = 0; d + 1 < Rank; ++d)
    if (view.extent(d) > 1 && meet(view.stride(d))) return true;
  if constexpr (Rank == 3) {
    const Index matrices = view.extent(0), rows = view.extent(1);
    const Index far = view.stride(0) < 0 ? -view.stride(0) : view.stride(0);
    const Index near = view.stride(1) < 0 ? -view.stride(1) : view.stride(1);
    if (matrices <= 1 || rows <= 1 || far >= (rows - 1) * near + columns) return false;
    // Row r of a matrix meets row r + j of the i-th after it if i * far and j * near lie close together.
    // (Signs do not matter: j may have either.)
    for (Index i = 1; i < matrices; ++i)
      for (Index j = i * far / near; j <= i * far / near + 1; ++j)
        if (j < rows && meet(i * far - j * near)) return true;
  }
  return false;
}

/// The rows of a batch of matrices [B, R, D] as one matrix [B*R, D]. The batch must be evenly strided.
template <class T>
[[nodiscard]] constexpr MatrixView<T> flatten_rows(const BatchView<T>& batch) {
  if (!batch.given()) return {};
  require(batch.extent(0) <= 1 || batch.stride(0) == batch.extent(1) * batch.stride(1),
          "flatten_rows: the stride between matrices, ", batch.stride(0), ", is not ", batch.extent(1),
          " rows of stride ", batch.stride(1));
  return MatrixView<T>(batch.data(), {batch.extent(0) * batch.extent(1), batch.extent(2)},
                       {batch.stride(1), 1});
}

/// Columns `begin` to `begin + count` of a matrix.
template <class T>
[[nodiscard]] constexpr MatrixView<T> column_range(const MatrixView<T>& matrix, Index begin, Index count) {
  T* const data = matrix.given() ? matrix.data() + begin : nullptr;
  return {data, {matrix.rows(), count}, matrix.strides()};
}

/// A view of other extents onto the same contiguous memory.
template <std::size_t NewRank, class T, std::size_t Rank>
[[nodiscard]] constexpr View<T, NewRank> reshape(const View<T, Rank>& view,
                                                 const std::array<Index, NewRank>& extents) {
  const View<T, NewRank> out(view.data(), extents);
  require(view.contiguous() && out.size() == view.size(), "reshape: ", view.size(),
          " elements (contiguous: ", view.contiguous(), ") into ", out.size());
  return out;
}

}  // namespace vlp
