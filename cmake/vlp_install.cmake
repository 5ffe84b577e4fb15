# Makes `cmake --install` put the headers, and a CMake package where `find_package(vlp COMPONENTS text io)` finds it.
# Each component is an export set of its own: what one needs is only looked for when it is asked for. vlp.pc is for
# those who build without CMake.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(vlp_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/vlp)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.hpp")
install(DIRECTORY ${PROJECT_SOURCE_DIR}/cuda/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.cuh")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/vlp)
# A header holds weights trained on a corpus whose licence asks for attribution.
install(FILES ${PROJECT_SOURCE_DIR}/data/README.md DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/vlp
        RENAME tagger_weights.md)

foreach(component ${vlp_components})
  install(TARGETS ${component} EXPORT ${component}Targets)
  install(EXPORT ${component}Targets NAMESPACE vlp:: DESTINATION ${vlp_package_dir})
endforeach()

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/vlpConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/vlpConfig.cmake INSTALL_DESTINATION ${vlp_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/vlpConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/vlpConfig.cmake ${PROJECT_BINARY_DIR}/vlpConfigVersion.cmake
              ${PROJECT_SOURCE_DIR}/cmake/FindCBLAS.cmake ${PROJECT_SOURCE_DIR}/cmake/FindDcmtkDecoders.cmake
              ${PROJECT_SOURCE_DIR}/cmake/FindRandom123.cmake
              ${PROJECT_SOURCE_DIR}/cmake/Findlibcsv.cmake ${PROJECT_SOURCE_DIR}/cmake/Findutf8proc.cmake
        DESTINATION ${vlp_package_dir})

# Its paths are relative to itself, so that the prefix may be chosen when vlp is installed.
set(vlp_pkgconfig_dir ${CMAKE_INSTALL_FULL_DATADIR}/pkgconfig)
file(RELATIVE_PATH vlp_pc_prefix ${vlp_pkgconfig_dir} ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" vlp_pc_prefix "${vlp_pc_prefix}")
file(RELATIVE_PATH vlp_pc_include ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
configure_file(${PROJECT_SOURCE_DIR}/cmake/vlp.pc.in ${PROJECT_BINARY_DIR}/vlp.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/vlp.pc DESTINATION ${CMAKE_INSTALL_DATADIR}/pkgconfig)
