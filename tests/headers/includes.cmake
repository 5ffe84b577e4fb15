# What headers include, for the scripts beside this one.

# read_includes(RESULT ROOT FILE): what FILE, a path relative to ROOT, includes in angle brackets.
function(read_includes result root file)
  file(STRINGS ${root}/${file} lines REGEX "^[ \t]*#[ \t]*include[ \t]*<[^>]+>")
  list(TRANSFORM lines REPLACE "^[^<]*<([^>]+)>.*" "\\1")
  set(${result} ${lines} PARENT_SCOPE)
endfunction()

# read_quoted_includes(RESULT ROOT FILE): what it includes in quotes.
function(read_quoted_includes result root file)
  file(STRINGS ${root}/${file} lines REGEX "^[ \t]*#[ \t]*include[ \t]*\"[^\"]+\"")
  list(TRANSFORM lines REPLACE "^[^\"]*\"([^\"]+)\".*" "\\1")
  set(${result} ${lines} PARENT_SCOPE)
endfunction()

# read_all_includes(RESULT HEADER ROOTS...): what HEADER includes, itself or through headers of vlp, which lie in ROOTS.
function(read_all_includes result header)
  set(found "")
  set(waiting ${header})
  while(waiting)
    list(POP_FRONT waiting next)
    foreach(root ${ARGN})
      if(EXISTS ${root}/${next})
        read_includes(direct ${root} ${next})
        list(REMOVE_ITEM direct ${found})
        list(APPEND found ${direct})
        list(APPEND waiting ${direct})
      endif()
    endforeach()
  endwhile()
  list(REMOVE_DUPLICATES found)
  set(${result} ${found} PARENT_SCOPE)
endfunction()
