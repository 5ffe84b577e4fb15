# Finds DCMTK's decoders of DICOM pixels and makes the target DcmtkDecoders::DcmtkDecoders. Not DCMTK's own package,
# which links all of its modules and their libraries (nsl, tiff, xml2, wrap); Debian's shared libraries bring along
# what they need.
find_path(DcmtkDecoders_INCLUDE_DIR dcmtk/dcmjpeg/djdijg16.h)
set(dcmtk_variables DcmtkDecoders_INCLUDE_DIR)
set(dcmtk_libraries "")
foreach(library dcmjpeg dcmdata oflog ofstd)
  find_library(DcmtkDecoders_${library} ${library})
  list(APPEND dcmtk_variables DcmtkDecoders_${library})
  list(APPEND dcmtk_libraries ${DcmtkDecoders_${library}})
endforeach()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(DcmtkDecoders REQUIRED_VARS ${dcmtk_variables})
mark_as_advanced(${dcmtk_variables})
if(DcmtkDecoders_FOUND AND NOT TARGET DcmtkDecoders::DcmtkDecoders)
  add_library(DcmtkDecoders::DcmtkDecoders INTERFACE IMPORTED)
  set_target_properties(DcmtkDecoders::DcmtkDecoders PROPERTIES
                        INTERFACE_INCLUDE_DIRECTORIES ${DcmtkDecoders_INCLUDE_DIR}
                        INTERFACE_LINK_LIBRARIES "${dcmtk_libraries}")
endif()
unset(dcmtk_variables)
unset(dcmtk_libraries)
