# Hardened by default. FORTIFY needs optimisation, and fights with the sanitizers' interceptors.
add_library(postern_hardening INTERFACE)
target_compile_options(postern_hardening INTERFACE
  -fno-strict-aliasing -fno-common -fstack-protector-strong -fstack-clash-protection
  -fcf-protection -fPIE -fvisibility=hidden)
if(NOT POSTERN_SANITIZE AND NOT POSTERN_FUZZ AND CMAKE_BUILD_TYPE MATCHES "Rel")
  target_compile_definitions(postern_hardening INTERFACE _FORTIFY_SOURCE=3)
endif()
target_link_options(postern_hardening INTERFACE -pie -Wl,-z,relro,-z,now,-z,noexecstack)
