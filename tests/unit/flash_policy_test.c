/* flash_policy: the whole file byte for byte, and which ports stand in it. */
#include <string.h>

#include "harness/test.h"
#include "server/config.h"
#include "server/flash_policy.h"

#define BEGIN                                                                                      \
    "<?xml version=\"1.0\"?>\n<!DOCTYPE cross-domain-policy SYSTEM "                               \
    "\"http://www.macromedia.com/xml/dtds/cross-domain-policy.dtd\">\n<cross-domain-policy>\n"
#define END "</cross-domain-policy>\n\0"

#define LIST(...)                                                                                  \
    strings((const char *const[]){__VA_ARGS__}, N_OF(((const char *const[]){__VA_ARGS__})))

/* The config owns its strings and so has no const. */
static struct config_strings strings(const char *const *items, size_t n)
{
    struct config_strings list = {.n = n};
    memcpy(&list.items, &items, sizeof list.items);
    return list;
}

static void the_policy_byte_for_byte(void **state)
{
    (void)state;
    const struct {
        const char *name;
        struct config config;
        struct span want;
    } cases[] = {
        {"any",
         {.flash_domains = LIST("*"), .flash_ports = LIST("*")},
         SPAN_LIT(BEGIN "  <allow-access-from domain=\"*\" to-ports=\"*\"/>\n" END)},
        {"hosts and ports",
         {.flash_domains = LIST("a.example", "*.b.example", "192.0.2.1"),
          .flash_ports = LIST("80", "8000-8099"),
          .listen = LIST("1234")},
         SPAN_LIT(BEGIN
                  "  <allow-access-from domain=\"a.example\" to-ports=\"80,8000-8099\"/>\n"
                  "  <allow-access-from domain=\"*.b.example\" to-ports=\"80,8000-8099\"/>\n"
                  "  <allow-access-from domain=\"192.0.2.1\" to-ports=\"80,8000-8099\"/>\n" END)},
        {"the ports that are listened on",
         {.flash_domains = LIST("*"),
          .listen = LIST("127.0.0.1:8080", "[::1]:8081", "8082", "0", "127.0.0.1:0"),
          .flash_listen = LIST("843"),
          .tls_listen = LIST("443")},
         SPAN_LIT(BEGIN
                  "  <allow-access-from domain=\"*\" to-ports=\"8080,8081,8082,843\"/>\n" END)},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct buf out;
        buf_init(&out, FLASH_POLICY_MAX_BYTES);
        CHECK(cases[i].name, flash_policy_has_ports(&cases[i].config));
        CHECK_INT(cases[i].name, flash_policy_put(&cases[i].config, &out), ERR_OK);
        check_span(cases[i].name, buf_span(&out), cases[i].want);
        buf_fini(&out);
    }
}

static void without_a_port_there_is_none(void **state)
{
    (void)state;
    const struct config system_chooses = {.listen = LIST("0", "127.0.0.1:00"),
                                          .flash_listen = LIST("[::1]:0")};
    const struct config tls_only = {.tls_listen = LIST("443")};
    const struct config named = {.listen = LIST("0"), .flash_ports = LIST("80")};
    assert_false(flash_policy_has_ports(&system_chooses));
    assert_false(flash_policy_has_ports(&tls_only));
    assert_true(flash_policy_has_ports(&named));
}

static void a_policy_that_players_refuse_is_an_error(void **state)
{
    (void)state;
    static const char *domains[400];
    for (size_t i = 0; i < N_OF(domains); i++) {
        domains[i] = "a.domain.of.thirty.bytes.example";
    }
    struct config config = {.flash_domains = strings(domains, N_OF(domains)),
                            .flash_ports = LIST("80")};
    struct buf out;
    buf_init(&out, FLASH_POLICY_MAX_BYTES);
    assert_int_equal(flash_policy_put(&config, &out), ERR_LIMIT);
    buf_fini(&out);
}

static void the_request_ends_with_nul(void **state)
{
    (void)state;
    assert_int_equal(FLASH_POLICY_REQUEST.len, 23);
    assert_int_equal(FLASH_POLICY_REQUEST.ptr[22], '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_policy_byte_for_byte),
        cmocka_unit_test(without_a_port_there_is_none),
        cmocka_unit_test(a_policy_that_players_refuse_is_an_error),
        cmocka_unit_test(the_request_ends_with_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
