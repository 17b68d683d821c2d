/* fault_mem: base/mem over the allocator that can fail. It stands in front of the library's own. */
#include <stdlib.h>

#include "fault/fault.h"

#define malloc  fault_malloc
#define calloc  fault_calloc
#define realloc fault_realloc
#define free    fault_free
/* The one door to the heap, with another heap behind it. */
#include "base/mem.c" /* NOLINT(bugprone-suspicious-include) */
