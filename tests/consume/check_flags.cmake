# Fails if a compile command in the file COMMANDS has a flag that is none of a library's business.
file(READ ${COMMANDS} commands)
if(NOT commands MATCHES "core\\.cpp")
  message(FATAL_ERROR "${COMMANDS} has no compile command")
endif()
string(REPLACE " -DVLP_USE_BLAS" "" commands "${commands}")  # a user's own choice: VLP_BLAS
foreach(flag " -W" " -w" " -march" " -O" " -g" " -fsanitize" " -DVLP" " -ffast-math")
  if(commands MATCHES "${flag}[^ ]*")
    message(FATAL_ERROR "vlp passes${CMAKE_MATCH_0} on to its users")
  endif()
endforeach()
