/// \file
/// A trie of word pieces.
#pragma once

#include <vlp/core/errors.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::text::detail {

/// A trie with all its edges in one hash table, so that a longest match costs one look-up a byte. Pieces that
/// start a word hang under one root, pieces that continue one ("##...") under another.
class PieceTrie {
 public:
  /// The longest piece at a place: its id, or -1, and its bytes.
  struct Match {
    std::int32_t id = -1;
    std::size_t length = 0;
  };

  PieceTrie() : edges_(1u << 10), ids_{-1, -1} {}

  /// Gives `piece` its id, in place of one that it has; false if it has one. Throws std::runtime_error, which
  /// names `source`, if all pieces together have too many prefixes.
  bool insert(std::string_view piece, std::int32_t id, std::string_view source) {
    std::uint32_t node = root(piece);
    for (const char byte : piece) node = child_or_new(node, byte, source);
    return std::exchange(ids_[node], id) < 0;
  }

  /// The id of `piece`, or -1.
  [[nodiscard]] std::int32_t find(std::string_view piece) const {
    std::uint32_t node = root(piece);
    for (const char byte : piece) {
      node = child(node, byte);
      if (node == 0) return -1;
    }
    return ids_[node];
  }

  /// The longest piece that `text` begins with, among those that continue a word or those that start one.
  [[nodiscard]] Match longest(std::string_view text, bool continues) const {
    Match match;
    std::uint32_t node = continues ? continuing : starting;
    for (std::size_t i = 0; i < text.size(); ++i) {
      node = child(node, text[i]);
      if (node == 0) break;
      if (ids_[node] >= 0) match = {ids_[node], i + 1};
    }
    return match;
  }

 private:
  struct Edge {
    std::uint32_t key = 0;
    std::uint32_t child = 0;  ///< 0 marks an empty slot, since no edge leads to a root
  };
  static constexpr std::uint32_t starting = 0, continuing = 1;

  /// The root of `piece`, which loses its "##".
  static std::uint32_t root(std::string_view& piece) {
    if (piece.size() <= 2 || !piece.starts_with("##")) return starting;
    piece.remove_prefix(2);
    return continuing;
  }

  static std::uint32_t key_of(std::uint32_t node, char byte) {
    return node << 8 | static_cast<unsigned char>(byte);
  }

  [[nodiscard]] std::size_t slot(std::uint32_t key) const {
    const std::size_t mask = edges_.size() - 1;
    std::size_t at = static_cast<std::size_t>((key * std::uint64_t{0x9e3779b97f4a7c15}) >> 32) & mask;
    while (edges_[at].child != 0 && edges_[at].key != key) at = (at + 1) & mask;
    return at;
  }

  [[nodiscard]] std::uint32_t child(std::uint32_t node, char byte) const {
    return edges_[slot(key_of(node, byte))].child;
  }

  std::uint32_t child_or_new(std::uint32_t node, char byte, std::string_view source) {
    if (const std::uint32_t known = child(node, byte)) return known;
    ensure(ids_.size() < (1u << 24), source, ": the pieces have more than ", 1u << 24, " prefixes");
    if (2 * ids_.size() >= edges_.size()) grow();
    const auto made = static_cast<std::uint32_t>(ids_.size());
    ids_.push_back(-1);
    edges_[slot(key_of(node, byte))] = {key_of(node, byte), made};
    return made;
  }

  void grow() {
    std::vector<Edge> old(2 * edges_.size());
    old.swap(edges_);
    for (const Edge& edge : old)
      if (edge.child != 0) edges_[slot(edge.key)] = edge;
  }

  std::vector<Edge> edges_;
  std::vector<std::int32_t> ids_;  ///< the id of the piece that ends at each node, or -1
};

}  // namespace vlp::text::detail
