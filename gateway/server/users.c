/* users: see users.h. */
#include "server/users.h"

#include <pwd.h>

#include "base/text.h"

bool users_find(const char *user, uint32_t *uid)
{
    uint64_t id = 0;
    if (decimal_parse(span_str(user), UINT32_MAX - 1, &id) == ERR_OK) { /* -1 is no user's */
        *uid = (uint32_t)id;
        return true;
    }
    const struct passwd *entry = getpwnam(user);
    if (entry == NULL) {
        return false;
    }
    *uid = entry->pw_uid;
    return true;
}
