/* sockjs_urls: the request-facing half of the SockJS dialect; see core/dialect.h for the contracts.
 */
#ifndef POSTERN_DIALECT_SOCKJS_URLS_H
#define POSTERN_DIALECT_SOCKJS_URLS_H

#include "core/dialect.h"

void sockjs_classify(const void *opts, const struct http_req *req, struct span suffix,
                     struct route *out);
void sockjs_page(const void *opts, const struct route *route, struct http_req *req,
                 struct kit *kit);

#endif
