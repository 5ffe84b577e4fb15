#include "support/temporary_folder.hpp"

#include <vlp/core/parameters.hpp>
#include <vlp/io/parameters.hpp>

#include <deque>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::io;
using vlp::test::TemporaryFolder;

using Names = std::vector<std::string>;
using Shapes = std::vector<std::pair<std::string, std::vector<Index>>>;

/// Parameters by name, with the values `first`, `first` + 1/4, `first` + 1/2, ... throughout.
template <class Scalar = float>
class Model {
 public:
  explicit Model(const Shapes& shapes, Scalar first = 0) {
    for (const auto& [name, shape] : shapes) {
      Parameter<Scalar>& parameter = parameters_.emplace_back(shape);
      parameter.initialise([&] { return std::exchange(first, first + Scalar(0.25)); });
      names_.push_back(name);
    }
    Cpu device(1);
    memory_.emplace(device, *this);
  }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  template <class Visit>
  void for_each_parameter(std::string_view, Visit&& visit) {
    for (std::size_t i = 0; i < names_.size(); ++i) visit(names_[i], parameters_[i]);
  }

  [[nodiscard]] const ParameterList<Scalar>& list() const { return memory_->list(); }

  /// The values of one parameter, or of all.
  [[nodiscard]] std::vector<Scalar> values(const std::string& of = "") const {
    std::vector<Scalar> out;
    for (const auto& [name, parameter] : list())
      if (of.empty() || name == of)
        out.insert(out.end(), parameter->value().data(), parameter->value().data() + parameter->size());
    return out;
  }

 private:
  std::deque<Parameter<Scalar>> parameters_;
  Names names_;
  std::optional<Parameters<Scalar>> memory_;
};

const Shapes small{{"text.weight", {2, 3}}, {"text.bias", {2}}, {"scale", {1}}};

template <class Scalar>
Path written(const TemporaryFolder& folder, const Model<Scalar>& model,
             const std::string& name = "w.safetensors") {
  Cpu device(1);
  write_parameters(device, folder / name, model.list());
  return folder / name;
}

template <class Scalar>
ReadParametersReport read(const Path& path, const Model<Scalar>& model,
                          const ReadParametersOptions& options = {}) {
  Cpu device(1);
  return read_parameters(device, path, model.list(), options);
}

/// The message of the Error that reading throws, checked to have changed nothing.
template <class Error = std::runtime_error, class Scalar>
std::string refusal(const Path& path, const Model<Scalar>& model, const ReadParametersOptions& options = {}) {
  const auto before = model.values();
  std::string message = test::message_of<Error>([&] { static_cast<void>(read(path, model, options)); });
  CHECK(model.values() == before);
  return message;
}

std::vector<Index> no_shape() {
  return {};
}

TEST_CASE("parameters come back as written") {
  const TemporaryFolder folder;
  const Model<float> model(small, 7);
  Cpu device(1);
  write_parameters(device, folder / "a", model.list(), {{"step", "3"}});
  CHECK(folder.file_count() == 1);
  const SafeTensors file = read_safetensors(folder / "a");
  CHECK(file.names() == Names{"scale", "text.bias", "text.weight"});
  CHECK(file.type("scale") == TensorType::f32);
  CHECK(file.shape("text.weight") == std::vector<Index>{2, 3});
  CHECK(file.values<float>("text.bias") == std::vector<float>{8.5F, 8.75F});
  CHECK(file.metadata() == Metadata{{"step", "3"}});
  const Model<float> other(small, 100);
  const auto report = read(folder / "a", other);
  CHECK(report.read == Names{"text.weight", "text.bias", "scale"});
  CHECK(report.missing.empty());
  CHECK(report.extra.empty());
  CHECK(report.misfits.empty());
  CHECK(other.values() == model.values());

  const Model<double> exact({{"a", {2}}}, 0.1), copy({{"a", {2}}}, 5.0);
  CHECK(read_safetensors(written(folder, exact)).type("a") == TensorType::f64);
  read(folder / "w.safetensors", copy);
  CHECK(copy.values() == exact.values());
  const Model<float> none(Shapes{});
  CHECK(read(written(folder, none), none).read.empty());
}

TEST_CASE("all that does not fit is one error that changes nothing") {
  const TemporaryFolder folder;
  const Path path = written(
      folder, Model<float>({{"text.weight", {3, 2}}, {"text.bias", {2}}, {"old.a", {1}}, {"old.b", {1}}}));
  const Model<float> model({{"text.weight", {2, 3}}, {"text.bias", {2}}, {"scale", {1}}}, 50);
  CHECK(
      refusal(path, model) ==
      path.string() +
          ": does not fit the model: 1 parameter is not in the file (scale); 2 tensors are not in the model "
          "(old.a, old.b); 1 has another shape or type (text.weight: F32 [3, 2] for F32 [2, 3])");
  Shapes many;
  for (int i = 10; i < 22; ++i) many.push_back({"p" + std::to_string(i), {1}});
  CHECK(refusal(path, Model<float>(many))
            .find("12 parameters are not in the file (p10, p11, p12, p13, p14, p15, p16, p17, p18, p19 and 2 "
                  "more); "
                  "4 tensors are not in the model (old.a, old.b, text.bias, text.weight)") !=
        std::string::npos);
  // A number is not a list of one.
  const std::vector<float> one{1};
  const std::vector<TensorRef> tensors{tensor_ref("scale", std::span<const float>(one), no_shape())};
  write_safetensors(folder / "number", tensors);
  CHECK(refusal(folder / "number", Model<float>({{"scale", {1}}})).find("scale: F32 [] for F32 [1]") !=
        std::string::npos);
  CHECK(refusal(folder / "none", model).find("none: cannot open") != std::string::npos);
  CHECK(refusal(folder.write("bad", "not safetensors"), model).find("bad: ") != std::string::npos);
}

TEST_CASE("what fits is read and the rest is reported") {
  const TemporaryFolder folder;
  const Model<float> stored({{"text.weight", {3, 2}}, {"text.bias", {2}}, {"old", {1}}});
  const Path path = written(folder, stored);
  const Model<float> model(small, 50);
  const auto weight = model.values("text.weight"), scale = model.values("scale");
  const ReadParametersOptions options{.policy = ReadPolicy::what_fits};
  const auto report = read(path, model, options);
  CHECK(report.read == Names{"text.bias"});
  CHECK(report.missing == Names{"scale"});
  CHECK(report.extra == Names{"old"});
  CHECK(report.misfits == std::vector<Misfit>{{"text.weight", "F32 [3, 2]", "F32 [2, 3]"}});
  CHECK(model.values("text.bias") == stored.values("text.bias"));
  CHECK(model.values("text.weight") == weight);
  CHECK(model.values("scale") == scale);
  CHECK(
      refusal(path, Model<float>({{"other", {1}}, {"text.weight", {2}}}), options) ==
      path.string() +
          ": nothing fits the model: 1 parameter is not in the file (other); 2 tensors are not in the model "
          "(old, text.bias); 1 has another shape or type (text.weight: F32 [3, 2] for F32 [2])");
}

TEST_CASE("names are changed by the longest rule that matches, whatever the order") {
  const std::vector<RenameRule> rules{{"bert.layer", "text.block"},
                                      {"bert", "other"},
                                      {"bert.layer.0.dense.weight", "first"},
                                      {"old", ""},
                                      {"gone.x", "x.y"}};
  const std::vector<RenameRule> reversed(rules.rbegin(), rules.rend());
  for (const auto& list : {rules, reversed}) {
    CHECK(io::detail::renamed("bert.layer.1.bias", list) == "text.block.1.bias");
    CHECK(io::detail::renamed("bert.layer", list) == "text.block");
    CHECK(io::detail::renamed("bert.layers.1", list) == "other.layers.1");
    CHECK(io::detail::renamed("bert.layer.0.dense.weight", list) == "first");
    CHECK(io::detail::renamed("bert2.layer", list) == "bert2.layer");
    CHECK(io::detail::renamed("old.scale", list) == "scale");
    CHECK(io::detail::renamed("gone.x.old.scale", list) == "x.y.old.scale");
    CHECK(io::detail::renamed("a.bert", list) == "a.bert");
  }
  CHECK(io::detail::renamed("a.b", {{"", "stage1"}}) == "stage1.a.b");
  CHECK(io::detail::renamed("a.b", {{"", "stage1"}, {"a", "c"}}) == "c.b");
  CHECK(io::detail::renamed(".b", {{"", "a"}}) == "a..b");

  const TemporaryFolder folder;
  const Model<float> stored({{"bert.weight", {2, 3}}, {"bert.beta", {2}}, {"scale", {1}}});
  const Path path = written(folder, stored);
  const Model<float> model(small, 50);
  read(path, model, {.rename = {{"bert.beta", "text.bias"}, {"bert", "text"}, {"unused", "text"}}});
  CHECK(model.values() == stored.values());
  // Names in a report are each side's own.
  const auto report = read(path, model, {.rename = {{"bert", "text"}}, .policy = ReadPolicy::what_fits});
  CHECK(report.missing == Names{"text.bias"});
  CHECK(report.extra == Names{"bert.beta"});
  CHECK(refusal(path, model, {.rename = {{"bert", "scale"}, {"bert.beta", "scale.weight"}}}) ==
        path.string() + ": both 'bert.beta' and 'bert.weight' become 'scale.weight'");
  CHECK(refusal<std::invalid_argument>(path, model, {.rename = {{"bert", "a"}, {"bert", "b"}}}) ==
        "read_parameters: two rules rename 'bert'");
}

TEST_CASE("rows of several tensors make one parameter") {
  const TemporaryFolder folder;
  const Model<float> stored(
      {{"k.weight", {2, 3}}, {"q.weight", {1, 3}}, {"v.weight", {2, 3}}, {"q", {2}}, {"odd", {2, 2}}});
  const Path path = written(folder, stored);
  const Model<float> model({{"qkv.weight", {5, 3}}, {"q", {2}}}, 50);
  ReadParametersOptions options{.join = {{"qkv.weight", {"q.weight", "k.weight", "v.weight"}}},
                                .ignore = {"odd"}};
  CHECK(read(path, model, options).read == Names{"qkv.weight", "q"});
  std::vector<float> wanted = stored.values("q.weight");
  for (const char* part : {"k.weight", "v.weight"})
    for (float value : stored.values(part)) wanted.push_back(value);
  CHECK(model.values("qkv.weight") == wanted);
  CHECK(model.values("q") == stored.values("q"));
  // Parts are named as the rename rules leave them, and one that is skipped is absent.
  const Model<float> other({{"t.qkv", {5, 3}}}, 50);
  options = {.rename = {{"q.weight", "t.q"}, {"k.weight", "t.k"}, {"v.weight", "t.v"}},
             .join = {{"t.qkv", {"t.q", "t.k", "t.v"}}},
             .subset = {"t"}};
  read(path, other, options);
  CHECK(other.values() == wanted);
  options.ignore = {"k"};
  CHECK(refusal(path, other, options) ==
        path.string() + ": does not fit the model: 1 parameter is not in the file (t.qkv)");
}

TEST_CASE("parts that are absent or of other shapes are reported and contradictions refused") {
  const TemporaryFolder folder;
  const Path path = written(
      folder, Model<float>({{"a", {2, 3}}, {"b", {2, 2}}, {"c", {4}}, {"whole", {4, 3}}, {"d", {2, 3}}}));
  const auto message = [&](const JoinRule& rule, const std::string& name) {
    const Model<float> model({{name, {4, 3}}});
    return refusal(path, model, {.join = {rule}});
  };
  CHECK(message({"p", {"a", "b"}}, "p").find("(p: F32 [2, 3] and F32 [2, 2] for F32 [4, 3])") !=
        std::string::npos);
  CHECK(message({"p", {"a", "c"}}, "p").find("p: F32 [2, 3] and F32 [4] for") != std::string::npos);
  CHECK(message({"p", {"a"}}, "p").find("p: F32 [2, 3] for") != std::string::npos);
  CHECK(message({"p", {"a", "none"}}, "p").find("1 parameter is not in the file (p)") != std::string::npos);
  // A parameter that the model does not have leaves its parts over.
  CHECK(message({"p", {"d", "a"}}, "whole").find("4 tensors are not in the model (a, b, c, d)") !=
        std::string::npos);
  CHECK(message({"whole", {"a", "d"}}, "whole") == path.string() + ": both 'a' and 'whole' become 'whole'");
  CHECK(message({"whole", {"none", "d"}}, "whole") ==
        path.string() + ": both 'd' and 'whole' become 'whole'");
  const Model<float> model({{"p", {4, 3}}});
  CHECK(refusal(path, model, {.rename = {{"d", "b"}}, .join = {{"p", {"a", "b"}}}}) ==
        path.string() + ": both 'b' and 'd' become 'p'");
  const auto wrong = [&](std::vector<JoinRule> rules) {
    return refusal<std::invalid_argument>(path, model, {.join = std::move(rules)});
  };
  CHECK(wrong({{"p", {}}}) == "read_parameters: the rule that joins 'p' has no parts");
  CHECK(wrong({{"p", {"a"}}, {"p", {"b"}}}) == "read_parameters: two rules join 'p'");
  CHECK(wrong({{"p", {"a"}}, {"r", {"a"}}}) == "read_parameters: 'a' is part of two joined parameters");
  CHECK(wrong({{"p", {"a", "a"}}}) == "read_parameters: 'a' is part of two joined parameters");
}

TEST_CASE("a subset of the model is read and parts of the file are skipped") {
  const TemporaryFolder folder;
  const Model<float> stored(
      {{"text.weight", {2, 3}}, {"text.bias", {2}}, {"text2.bias", {2}}, {"optimiser.first", {9}}});
  const Path path = written(folder, stored);
  const Model<float> model(small, 50);
  const auto scale = model.values("scale");
  CHECK(read(path, model, {.subset = {"text"}}).read == Names{"text.weight", "text.bias"});
  CHECK(model.values("text.weight") == stored.values("text.weight"));
  CHECK(model.values("text.bias") == stored.values("text.bias"));
  CHECK(model.values("scale") == scale);
  CHECK(read(path, model, {.subset = {"text.bias"}}).read == Names{"text.bias"});
  // Inside the subset all still has to fit, by its new name.
  CHECK(refusal(path, model, {.rename = {{"text2", "text.two"}}, .subset = {"text"}})
            .find("1 tensor is not in the model (text2.bias)") != std::string::npos);
  CHECK(refusal(path, model, {.rename = {{"text.bias", "b"}}, .subset = {"text"}})
            .find("1 parameter is not in the file (text.bias)") != std::string::npos);
  CHECK(refusal<std::invalid_argument>(path, model, {.subset = {"text", "tex"}}) ==
        "read_parameters: no parameter of the model begins with 'tex' of the subset");
  const Model<float> text({{"text.weight", {2, 3}}, {"text.bias", {2}}}, 50);
  CHECK(refusal(path, text, {.ignore = {"optimiser"}}).find("1 tensor is not in the model (text2.bias)") !=
        std::string::npos);
  CHECK(read(path, text, {.ignore = {"optimiser", "text2.bias"}}).extra.empty());
  Cpu device(1);
  auto twice = text.list();
  twice.push_back(twice[0]);
  CHECK(test::message_of<std::invalid_argument>([&] { read_parameters(device, path, twice); }) ==
        "read_parameters: the list has two parameters 'text.weight'");
  CHECK(test::message_of<std::invalid_argument>([&] {
          write_parameters(device, path, twice);
        }).find("'text.weight'") != std::string::npos);
}

TEST_CASE("types that the scalar holds are converted and others do not fit") {
  const TemporaryFolder folder;
  const std::vector<std::uint16_t> halves{0x3c00, 0xc100}, brain_floats{0x3f80, 0xc020};
  const std::vector<float> floats{0.1F, 2};
  const std::vector<double> doubles{0.1, 2};
  const auto raw = [](const auto& values) {
    return std::string_view(reinterpret_cast<const char*>(values.data()), 4);
  };
  const std::vector<TensorRef> tensors{{"half", TensorType::f16, {2}, raw(halves)},
                                       {"brain", TensorType::bf16, {2}, raw(brain_floats)},
                                       tensor_ref("float", std::span<const float>(floats), {2}),
                                       tensor_ref("double", std::span<const double>(doubles), {2})};
  write_safetensors(folder / "a", tensors);
  const Shapes shapes{{"half", {2}}, {"brain", {2}}, {"float", {2}}, {"double", {2}}};
  const Model<double> wide(shapes, 50);
  read(folder / "a", wide);
  CHECK(wide.values() == std::vector<double>{1, -2.5, 1, -2.5, double{0.1F}, 2, 0.1, 2});
  const Model<float> narrow(shapes, 50);
  CHECK(refusal(folder / "a", narrow).find("(double: F64 [2] for F32 [2])") != std::string::npos);
  const auto report = read(folder / "a", narrow, {.policy = ReadPolicy::what_fits});
  CHECK(report.misfits == std::vector<Misfit>{{"double", "F64 [2]", "F32 [2]"}});
  CHECK(narrow.values("half") == std::vector<float>{1, -2.5F});
  CHECK(narrow.values("brain") == std::vector<float>{1, -2.5F});
  CHECK(narrow.values("float") == floats);
}

TEST_CASE("tensors that no parameter can be made of do no harm to the others") {
  const TemporaryFolder folder;
  const auto file_of = [&](std::string header, const std::string& data) {
    std::string length(8, '\0');
    length[0] = static_cast<char>(header.size() & 0xFF);
    length[1] = static_cast<char>(header.size() >> 8);
    return folder.write("a.safetensors", length + header + data);
  };
  const Path path = file_of(R"({"mask":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]},)"
                            R"("q":{"dtype":"F32","shape":[9223372036854775807,0],"data_offsets":[2,2]},)"
                            R"("k":{"dtype":"F32","shape":[9223372036854775807,0],"data_offsets":[2,2]},)"
                            R"("scale":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
                            std::string("\1\0\0\0\x80\x3F", 6));
  const Model<float> model({{"mask", {2}}, {"qk", {2}}, {"scale", {1}}}, 50);
  const auto report = read(path, model, {.join = {{"qk", {"q", "k"}}}, .policy = ReadPolicy::what_fits});
  CHECK(report.read == Names{"scale"});
  CHECK(report.misfits ==
        std::vector<Misfit>{
            {"mask", "BOOL [2]", "F32 [2]"},
            {"qk", "F32 [9223372036854775807, 0] and F32 [9223372036854775807, 0]", "F32 [2]"}});
  CHECK(model.values("scale") == std::vector<float>{1});
}

TEST_CASE("the shards that an index lists are one file") {
  const TemporaryFolder folder;
  const Model<float> one({{"text.weight", {2, 3}}, {"unlisted", {1}}}),
      two({{"text.bias", {2}}, {"scale", {1}}}, 20);
  written(folder, one, "model-1.safetensors");
  written(folder, two, "model-2.safetensors");
  const auto index = [&](const std::string& text) {
    return folder.write("model.safetensors.index.json", text);
  };
  const std::string weight = R"("text.weight":"model-1.safetensors")";
  const std::string rest = R"("text.bias":"model-2.safetensors","scale":"model-2.safetensors")";
  const Path path = index(R"({"metadata":{"total_size":36},"weight_map":{)" + weight + "," + rest + "}}");
  const Model<float> model(small, 50);
  CHECK(read(path, model).read == Names{"text.weight", "text.bias", "scale"});
  CHECK(model.values("text.weight") == one.values("text.weight"));
  CHECK(model.values("text.bias") == two.values("text.bias"));
  CHECK(model.values("scale") == two.values("scale"));
  const auto message = [&](const std::string& map) {
    return refusal(index(R"({"weight_map":)" + map + "}"), model);
  };
  CHECK(message("{" + rest + "}").find("1 parameter is not in the file (text.weight)") != std::string::npos);
  CHECK(message("[]").find("not an index of shards") != std::string::npos);
  CHECK(message("{").find("model.safetensors.index.json: not JSON") != std::string::npos);
  CHECK(message(R"({"a":1})").find("the shard of tensor 'a' is no file name") != std::string::npos);
  CHECK(message(R"({"a":"model-1.safetensors"})")
            .find("tensor 'a' is not in its shard 'model-1.safetensors'") != std::string::npos);
  CHECK(message(R"({"a":"model-3.safetensors"})").find("model-3.safetensors: cannot open") !=
        std::string::npos);
  for (const char* name : {"../w", "/w", "x/w", "", ".", ".."}) {
    INFO(name);
    CHECK(message(std::string(R"({"a":")") + name + R"("})").find("is not a file beside the index") !=
          std::string::npos);
  }
}

/// The rules of docs/weights.md.
ReadParametersOptions bert_options(int depth) {
  ReadParametersOptions options{
      .rename = {{"bert.embeddings.word_embeddings.weight", "text_encoder.embedding.word"},
                 {"bert.embeddings.position_embeddings.weight", "text_encoder.embedding.position"},
                 {"bert.embeddings.token_type_embeddings.weight", "text_encoder.embedding.type"}},
      .ignore = {"bert.pooler", "bert.embeddings.position_ids", "cls"}};
  const auto rename = [&](const std::string& from, const std::string& to) {
    options.rename.push_back({from, to});
  };
  const auto rename_norm = [&](const std::string& from, const std::string& to) {
    rename(from, to);
    rename(from + ".gamma", to + ".weight");  // as older files call gain and bias
    rename(from + ".beta", to + ".bias");
  };
  rename_norm("bert.embeddings.LayerNorm", "text_encoder.embedding.norm");
  for (int i = 0; i < depth; ++i) {
    const std::string from = "bert.encoder.layer." + std::to_string(i),
                      to = "text_encoder.block" + std::to_string(i);
    rename(from + ".attention.self", to + ".attention");
    rename(from + ".attention.output.dense", to + ".attention.output");
    rename_norm(from + ".attention.output.LayerNorm", to + ".norm1");
    rename(from + ".intermediate.dense", to + ".feed_forward.first");
    rename(from + ".output.dense", to + ".feed_forward.second");
    rename_norm(from + ".output.LayerNorm", to + ".norm2");
    const std::string attention = to + ".attention.";
    for (const std::string kind : {".weight", ".bias"})
      options.join.push_back(
          {attention + "query_key_value" + kind,
           {attention + "query" + kind, attention + "key" + kind, attention + "value" + kind}});
  }
  return options;
}

/// Shapes of BERT's tensors under the published names, and of the same under this library's names.
std::pair<Shapes, Shapes> bert_shapes(Index width, Index depth, bool old_norms) {
  Shapes bert{{"bert.embeddings.word_embeddings.weight", {10, width}},
              {"bert.embeddings.position_embeddings.weight", {6, width}},
              {"bert.embeddings.token_type_embeddings.weight", {2, width}},
              {"bert.pooler.dense.weight", {width, width}},
              {"cls.predictions.bias", {10}}};
  Shapes ours{{"text_encoder.embedding.word", {10, width}},
              {"text_encoder.embedding.position", {6, width}},
              {"text_encoder.embedding.type", {2, width}}};
  const auto add = [](Shapes& shapes, const std::string& name, Index outputs, Index inputs) {
    shapes.push_back({name + ".weight", {outputs, inputs}});
    shapes.push_back({name + ".bias", {outputs}});
  };
  const auto add_norm = [&](const std::string& from, const std::string& to) {
    bert.push_back({from + (old_norms ? ".gamma" : ".weight"), {width}});
    bert.push_back({from + (old_norms ? ".beta" : ".bias"), {width}});
    ours.push_back({to + ".weight", {width}});
    ours.push_back({to + ".bias", {width}});
  };
  add_norm("bert.embeddings.LayerNorm", "text_encoder.embedding.norm");
  for (Index i = 0; i < depth; ++i) {
    const std::string from = "bert.encoder.layer." + std::to_string(i),
                      to = "text_encoder.block" + std::to_string(i);
    for (const char* part : {"query", "key", "value"})
      add(bert, from + ".attention.self." + part, width, width);
    add(bert, from + ".attention.output.dense", width, width);
    add(bert, from + ".intermediate.dense", 2 * width, width);
    add(bert, from + ".output.dense", width, 2 * width);
    add(ours, to + ".attention.query_key_value", 3 * width, width);
    add(ours, to + ".attention.output", width, width);
    add(ours, to + ".feed_forward.first", 2 * width, width);
    add(ours, to + ".feed_forward.second", width, 2 * width);
    add_norm(from + ".attention.output.LayerNorm", to + ".norm1");
    add_norm(from + ".output.LayerNorm", to + ".norm2");
  }
  return {bert, ours};
}

TEST_CASE("weights of BERT become those of this library's layout") {
  const TemporaryFolder folder;
  for (const bool old_norms : {false, true}) {
    const auto [bert, ours] = bert_shapes(4, 2, old_norms);
    const Model<float> stored(bert), model(ours, 1000);
    CHECK(read(written(folder, stored), model, bert_options(2)).read.size() == ours.size());
    const std::string layer = "bert.encoder.layer.1.";
    CHECK(model.values("text_encoder.block1.norm2.bias") ==
          stored.values(layer + (old_norms ? "output.LayerNorm.beta" : "output.LayerNorm.bias")));
    CHECK(model.values("text_encoder.block1.attention.output.weight") ==
          stored.values(layer + "attention.output.dense.weight"));
    std::vector<float> joined;
    for (const std::string part : {"query", "key", "value"})
      for (float value : stored.values(layer + "attention.self." + part + ".weight")) joined.push_back(value);
    CHECK(model.values("text_encoder.block1.attention.query_key_value.weight") == joined);
  }
}

}  // namespace
