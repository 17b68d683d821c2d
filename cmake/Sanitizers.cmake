# POSTERN_SANITIZE and POSTERN_COVERAGE apply to every target of the build.
if(POSTERN_SANITIZE)
  add_compile_options(-fsanitize=${POSTERN_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${POSTERN_SANITIZE})
endif()
if(POSTERN_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(POSTERN_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()
