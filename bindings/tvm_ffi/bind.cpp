// Functions whose first arguments are fixed: a compiled program of XLA passes arrays and nothing else.
#include <tvm/ffi/any.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/function.h>

#include <utility>
#include <vector>

namespace vlp::bindings {
namespace {

namespace ffi = tvm::ffi;

/// A function that calls `function` with `first`, and after them with its own arguments.
ffi::Function bind(const ffi::Function& function, const ffi::Array<ffi::Any>& first) {
  return ffi::Function::FromPacked([function, first](ffi::PackedArgs given, ffi::Any* result) {
    std::vector<ffi::AnyView> all(first.begin(), first.end());
    all.insert(all.end(), given.data(), given.data() + given.size());
    function.CallPacked(all.data(), static_cast<int>(all.size()), result);
  });
}

}  // namespace
}  // namespace vlp::bindings

TVM_FFI_DLL_EXPORT_TYPED_FUNC(bind, vlp::bindings::bind);
