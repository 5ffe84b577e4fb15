# The target that vlp's own programs (tests, examples, benchmarks) link; never passed on to users.
foreach(component text io)
  if(NOT TARGET vlp::${component})
    message(FATAL_ERROR "vlp's own programs need the component vlp::${component}; "
                        "scripts/install_packages.sh installs what it lacks")
  endif()
endforeach()

find_package(stb REQUIRED)  # a font for the pictures of the examples

add_library(vlp_developer INTERFACE)
target_link_libraries(vlp_developer INTERFACE vlp_program_options vlp::train stb::stb)

# vlp_reads_dicom(PROGRAMS...): lets programs read DICOM files too where DCMTK is installed, and tells them by VLP_HAS_DICOM.
function(vlp_reads_dicom)
  if(TARGET vlp::dicom)
    foreach(program ${ARGN})
      target_link_libraries(${program} PRIVATE vlp::dicom)
      target_compile_definitions(${program} PRIVATE VLP_HAS_DICOM)
    endforeach()
  endif()
endfunction()
