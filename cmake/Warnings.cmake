# The warning set of the house; each passes on gcc 12 and clang 14. An INTERFACE target carries it.
add_library(postern_warnings INTERFACE)
target_compile_options(postern_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes
  -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2 -Wvla -Wundef
  -Wswitch-enum -Wimplicit-fallthrough -Wnull-dereference -Wdouble-promotion
  $<$<C_COMPILER_ID:GNU>:-Wlogical-op -Wduplicated-cond -Wduplicated-branches>
  $<$<C_COMPILER_ID:Clang>:-Wunreachable-code -Wcomma>
  $<$<BOOL:${POSTERN_WERROR}>:-Werror>)
