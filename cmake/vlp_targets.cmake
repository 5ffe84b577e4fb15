# The library's targets. vlp::vlp needs Eigen alone; what brings a library along is a component of its own:
#   vlp::vlp    core/ (except random.hpp), losses/, optim/, eval/, interop/    Eigen, threads
#   vlp::text   text/, core/random.hpp              utf8proc, Random123
#   vlp::io     io/ (except dicom.hpp)              libpng, libjpeg, libcsv, zlib, nlohmann-json
#   vlp::dicom  io/dicom.hpp                        vlp::io, DCMTK
#   vlp::train  nn/, and what is made of the above  vlp::text, vlp::io
#   vlp::cuda   cuda/vlp/cuda/                      CUDA 12 or later: runtime and cuBLAS
find_package(Eigen3 3.4 QUIET NO_MODULE)
if(NOT Eigen3_FOUND)
  message(FATAL_ERROR "vlp needs Eigen 3.4 or later (on Debian and Ubuntu: apt install libeigen3-dev); "
                      "-DEigen3_DIR=FOLDER says where Eigen3Config.cmake is")
endif()

add_library(vlp INTERFACE)
add_library(vlp::vlp ALIAS vlp)
target_compile_features(vlp INTERFACE cxx_std_20)
target_include_directories(vlp INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
find_package(Threads REQUIRED)
target_link_libraries(vlp INTERFACE Eigen3::Eigen Threads::Threads)
# Sums marked `omp simd` may be taken in any order, and so in vector registers; nothing else of OpenMP is used.
target_compile_options(vlp INTERFACE $<$<COMPILE_LANG_AND_ID:CXX,GNU,Clang,AppleClang>:-fopenmp-simd>
                                     $<$<COMPILE_LANG_AND_ID:CUDA,NVIDIA>:-Xcompiler=-fopenmp-simd>)

set(vlp_has_blas OFF)
if(VLP_BLAS)
  find_package(CBLAS REQUIRED)
  target_link_libraries(vlp INTERFACE CBLAS::CBLAS)
  target_compile_definitions(vlp INTERFACE VLP_USE_BLAS)
  set(vlp_has_blas ON)
endif()

set(vlp_components vlp)
find_package(utf8proc)
find_package(Random123)
if(utf8proc_FOUND AND Random123_FOUND)
  add_library(vlp_text INTERFACE)
  add_library(vlp::text ALIAS vlp_text)
  set_target_properties(vlp_text PROPERTIES EXPORT_NAME text)
  target_link_libraries(vlp_text INTERFACE vlp utf8proc::utf8proc Random123::Random123)
  list(APPEND vlp_components vlp_text)
endif()

find_package(PNG)
find_package(JPEG)
find_package(libcsv)
find_package(ZLIB)
find_package(nlohmann_json 3.10)
if(PNG_FOUND AND JPEG_FOUND AND libcsv_FOUND AND ZLIB_FOUND AND nlohmann_json_FOUND)
  add_library(vlp_io INTERFACE)
  add_library(vlp::io ALIAS vlp_io)
  set_target_properties(vlp_io PROPERTIES EXPORT_NAME io)
  target_link_libraries(vlp_io INTERFACE vlp PNG::PNG JPEG::JPEG libcsv::libcsv ZLIB::ZLIB nlohmann_json::nlohmann_json)
  list(APPEND vlp_components vlp_io)
endif()

find_package(DcmtkDecoders)
if(TARGET vlp_io AND DcmtkDecoders_FOUND)
  add_library(vlp_dicom INTERFACE)
  add_library(vlp::dicom ALIAS vlp_dicom)
  set_target_properties(vlp_dicom PROPERTIES EXPORT_NAME dicom)
  target_link_libraries(vlp_dicom INTERFACE vlp_io DcmtkDecoders::DcmtkDecoders)
  list(APPEND vlp_components vlp_dicom)
endif()

if(TARGET vlp_text AND TARGET vlp_io)
  add_library(vlp_train INTERFACE)
  add_library(vlp::train ALIAS vlp_train)
  set_target_properties(vlp_train PROPERTIES EXPORT_NAME train)
  target_link_libraries(vlp_train INTERFACE vlp_text vlp_io)
  list(APPEND vlp_components vlp_train)
endif()

# Whoever uses it compiles .cu files with a CUDA compiler of their own; vlp's headers need C++20 of it.
find_package(CUDAToolkit 12 QUIET)
if(CUDAToolkit_FOUND)
  add_library(vlp_cuda INTERFACE)
  add_library(vlp::cuda ALIAS vlp_cuda)
  set_target_properties(vlp_cuda PROPERTIES EXPORT_NAME cuda)
  target_include_directories(vlp_cuda INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/cuda>)
  target_link_libraries(vlp_cuda INTERFACE vlp CUDA::cudart CUDA::cublas)
  list(APPEND vlp_components vlp_cuda)
endif()
