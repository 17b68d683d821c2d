/*
 * config_forms: what a string of the config must look like beyond being a string (an address, an
 * origin, a mount path ...), and what to write instead. Pure; any thread.
 */
#ifndef POSTERN_SERVER_CONFIG_FORMS_H
#define POSTERN_SERVER_CONFIG_FORMS_H

#include <stdbool.h>

#include "server/config_report.h"

enum config_form {
    CONFIG_FORM_ANY,
    CONFIG_FORM_LISTEN,       /* IPV4:PORT, [IPV6]:PORT, PORT */
    CONFIG_FORM_ORIGIN,       /* as browsers write it in the Origin header, or a word for many */
    CONFIG_FORM_MOUNT_PATH,   /* /a/b */
    CONFIG_FORM_SCRIPT_URL,   /* goes into the src="" of a page */
    CONFIG_FORM_TOKEN,        /* of RFC 9110 5.6.2, as a WebSocket subprotocol is */
    CONFIG_FORM_FLASH_DOMAIN, /* these two stand in XML as they are */
    CONFIG_FORM_FLASH_PORTS,
    CONFIG_FORM_USER,        /* that it exists is checked elsewhere */
    CONFIG_FORM_SOCKET_PATH, /* fits into struct sockaddr_un */
};

enum {
    CONFIG_MAX_SOCKET_PATH = 107, /* sun_path of unix(7) without its NUL */
    CONFIG_MAX_MOUNT_PATH = 255,
};

struct config_form_fault {
    const char *why;              /* goes on after the name of the key: "must begin with ..." */
    char hint[CONFIG_HINT_BYTES]; /* what to write, may be "" */
};

/* Whether `value` has the form; `fault` is set when not. */
bool config_form_check(enum config_form form, const char *value, struct config_form_fault *fault);
/* The form in the words of the manual; "" for CONFIG_FORM_ANY. */
const char *config_form_name(enum config_form form);
/* Whether two well-formed listen addresses bind the same address and port ("80" and "0.0.0.0:80").
 * Port 0 (the system chooses one) never does. */
bool config_listen_is_same(const char *a, const char *b);

#endif
