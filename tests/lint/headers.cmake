# Compiles every header alone, and twice in a row: each must bring what it needs and guard itself.
#   cmake -DSOURCE_DIR=... -DCOMPILER=gcc -P tests/lint/headers.cmake
if(NOT SOURCE_DIR)
  get_filename_component(SOURCE_DIR ${CMAKE_CURRENT_LIST_DIR}/../.. ABSOLUTE)
endif()
if(NOT COMPILER)
  set(COMPILER cc)
endif()

file(GLOB_RECURSE headers ${SOURCE_DIR}/gateway/*.h ${SOURCE_DIR}/transports/*.h
     ${SOURCE_DIR}/handlers/c/*.h ${SOURCE_DIR}/tests/harness/*.h)
set(checked 0)
set(bad "")
foreach(header ${headers})
  execute_process(
    COMMAND ${COMPILER} -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Wundef -Wstrict-prototypes
            -Wno-unused-function -Werror -fsyntax-only -I${SOURCE_DIR}/gateway -I${SOURCE_DIR}
            -I${SOURCE_DIR}/tests -include ${header} -include ${header} -x c /dev/null
    RESULT_VARIABLE status ERROR_VARIABLE said)
  math(EXPR checked "${checked} + 1")
  if(NOT status EQUAL 0)
    file(RELATIVE_PATH name ${SOURCE_DIR} ${header})
    string(APPEND bad "${name} does not compile alone:\n${said}\n")
  endif()
endforeach()
if(checked EQUAL 0)
  message(FATAL_ERROR "no header found under ${SOURCE_DIR}")
endif()
if(bad)
  message(FATAL_ERROR "${bad}")
endif()
message(STATUS "${checked} headers compile alone")
