# postern_floor(NAME [DEPENDS lower floors...] [LIBRARIES outside libraries...] [FOLDER dir])
#
# A floor is its folder: every .c in it. Includes are written from the folder above ("base/err.h"),
# and only the floors named in DEPENDS are linked, so that an upward call fails to link.
# tests/lint/layers.py checks the same for #include.
function(postern_floor name)
  cmake_parse_arguments(ARG "" "FOLDER" "DEPENDS;LIBRARIES" ${ARGN})
  if(NOT ARG_FOLDER)
    set(ARG_FOLDER ${CMAKE_CURRENT_SOURCE_DIR}/${name})
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${ARG_FOLDER}/*.c)
  add_library(postern_${name} STATIC ${sources})
  target_compile_features(postern_${name} PRIVATE c_std_11)
  target_include_directories(postern_${name} PUBLIC ${CMAKE_SOURCE_DIR}/gateway ${CMAKE_SOURCE_DIR})
  target_compile_definitions(postern_${name} PUBLIC _GNU_SOURCE)
  target_link_libraries(postern_${name} PRIVATE postern_warnings postern_hardening
                        ${ARG_LIBRARIES})
  foreach(floor ${ARG_DEPENDS})
    target_link_libraries(postern_${name} PRIVATE postern_${floor})
  endforeach()
endfunction()
