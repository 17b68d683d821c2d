/*
 * Any bytes as a config file: no crash, no leak, and a refusal always says why. The first byte
 * picks the command line, so that texts without the required keys also get through to the end.
 */
#include <stdint.h>

#include "server/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_config(const struct config *config)
{
    ASSERT(config->handlers_socket != NULL && config->listen.n != 0);
    ASSERT(config->n_mounts != 0 || config->demo);
    for (size_t i = 0; i < config->n_mounts; i++) {
        const struct config_mount *mount = &config->mounts[i];
        ASSERT(mount->path != NULL && mount->path[0] == '/' && mount->origins.n != 0);
        ASSERT(mount->dialects != 0 && mount->transports != 0);
        ASSERT(mount->queue_hard_bytes >= 2 * mount->max_message_bytes);
        ASSERT(mount->queue_soft_bytes <= mount->queue_hard_bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct config_overrides demo = {"8080", "./app.sock", true};
    if (size == 0) {
        return 0;
    }
    const struct config_overrides *overrides = data[0] == '1' ? &demo : NULL;
    struct span text = span_of((const char *)data + 1, size - 1);
    struct buf report;
    buf_init(&report, CONFIG_REPORT_MAX_BYTES);
    struct config *config = NULL;
    enum err e = config_parse("fuzz.json", text, overrides, &config, &report);
    ASSERT(e == ERR_OK || e == ERR_CONFIG);
    ASSERT((e == ERR_OK) == (config != NULL));
    ASSERT((e == ERR_CONFIG) == (buf_len(&report) != 0));
    if (config != NULL) {
        check_config(config);
    }
    config_destroy(config);
    buf_fini(&report);
    return 0;
}
