/* link_internal: what link.c, link_out.c and link_hello.c share. Private to this folder. */
#ifndef POSTERN_BACKEND_LINK_INTERNAL_H
#define POSTERN_BACKEND_LINK_INTERNAL_H

#include "backend/link.h"

/* Reads the JSON of HELLO into name and mounts. False: *why is a sentence. */
bool link_read_hello(struct link *link, struct span json, const char **why);
/* Marks deliveries first..last as finished and frees what that frees. False: a number never sent.
 */
bool link_acknowledge(struct link *link, uint64_t first, uint64_t last);
/* Whether first..last were all sent. */
bool link_was_sent(const struct link *link, uint64_t first, uint64_t last);
/* Something could not be written: the link ends before the next turn, since nothing may end it
 * inside a call of its owner. */
void link_break(struct link *link);
/* The link ends: gives the copies of what is not acknowledged to the owners of its slots. */
void link_return_undone(struct link *link);
/* Nothing may be gathered or unacknowledged now. Storage is given back when the link has been at
 * rest, and not whenever it is empty for a moment: the kernel takes longer to clear a page than we
 * to fill it. A handler's link is looked at by its timer; this arms one for a relay's. */
void link_let_rest(struct link *link);
/* Frees the tables. */
void link_out_fini(struct link *link);
/* The slot of a handle; NULL when it was never issued. */
struct link_slot *link_slot_of(struct link *link, uint64_t handle);
/* After acknowledgements or output: tells the owner when there is room. */
void link_check_room(struct link *link);

#endif
