/* config_forms and the checks across keys: what is allowed, and the report of each mistake byte for
 * byte. */
#include <string.h>

#include "harness/test.h"
#include "server/config.h"
#include "server/config_forms.h"

/* ---- forms ---- */

static const struct {
    const char *value;
    enum config_form form;
    bool want;
} forms[] = {
    {"0", CONFIG_FORM_LISTEN, true},
    {"65535", CONFIG_FORM_LISTEN, true},
    {"65536", CONFIG_FORM_LISTEN, false},
    {"", CONFIG_FORM_LISTEN, false},
    {":80", CONFIG_FORM_LISTEN, false},
    {"*:80", CONFIG_FORM_LISTEN, false},
    {"0.0.0.0:80", CONFIG_FORM_LISTEN, true},
    {"1.2.3:80", CONFIG_FORM_LISTEN, false},
    {"1.2.3.4:", CONFIG_FORM_LISTEN, false},
    {"1.2.3.4:+1", CONFIG_FORM_LISTEN, false},
    {"[::]:80", CONFIG_FORM_LISTEN, true},
    {"[]:80", CONFIG_FORM_LISTEN, false},
    {"[::1]", CONFIG_FORM_LISTEN, false},
    {"[1.2.3.4]:80", CONFIG_FORM_LISTEN, false},
    {"::1:80", CONFIG_FORM_LISTEN, false},
    {"https://a.example", CONFIG_FORM_ORIGIN, true},
    {"echo.v1", CONFIG_FORM_TOKEN, true},
    {"!#$%&'*+-.^_`|~aZ0", CONFIG_FORM_TOKEN, true},
    {"", CONFIG_FORM_TOKEN, false},
    {"a b", CONFIG_FORM_TOKEN, false},
    {"a,b", CONFIG_FORM_TOKEN, false},
    {"a/b", CONFIG_FORM_TOKEN, false},
    {"caf\xc3\xa9", CONFIG_FORM_TOKEN, false},
    {"http://localhost:3000", CONFIG_FORM_ORIGIN, true},
    {"http://[::1]:3000", CONFIG_FORM_ORIGIN, true},
    {"http://[::1]", CONFIG_FORM_ORIGIN, true},
    {"chrome-extension://abcdef", CONFIG_FORM_ORIGIN, true},
    {"https://", CONFIG_FORM_ORIGIN, false},
    {"://a", CONFIG_FORM_ORIGIN, false},
    {"https:/a", CONFIG_FORM_ORIGIN, false},
    {"https://a:0", CONFIG_FORM_ORIGIN, false},
    {"https://a:65536", CONFIG_FORM_ORIGIN, false},
    {"https://a:", CONFIG_FORM_ORIGIN, false},
    {"http://a:443", CONFIG_FORM_ORIGIN, true},
    {"https://a:443", CONFIG_FORM_ORIGIN, false},
    {"https://[::g]", CONFIG_FORM_ORIGIN, false},
    {"https://a b", CONFIG_FORM_ORIGIN, false},
    {"", CONFIG_FORM_ORIGIN, false},
    {"!http://a.example", CONFIG_FORM_ORIGIN, true},
    {"!https://[::1]:8443", CONFIG_FORM_ORIGIN, true},
    {"!null", CONFIG_FORM_ORIGIN, true},
    {"!*", CONFIG_FORM_ORIGIN, false},
    {"!same-origin", CONFIG_FORM_ORIGIN, false},
    {"!", CONFIG_FORM_ORIGIN, false},
    {"!!null", CONFIG_FORM_ORIGIN, false},
    {"! null", CONFIG_FORM_ORIGIN, false},
    {"null!", CONFIG_FORM_ORIGIN, false},
    {"!https://a.example:443", CONFIG_FORM_ORIGIN, false},
    {"!https://A.example", CONFIG_FORM_ORIGIN, false},
    {"*", CONFIG_FORM_FLASH_DOMAIN, true},
    {"a.example", CONFIG_FORM_FLASH_DOMAIN, true},
    {"*.a-b.example", CONFIG_FORM_FLASH_DOMAIN, true},
    {"192.0.2.1", CONFIG_FORM_FLASH_DOMAIN, true},
    {"", CONFIG_FORM_FLASH_DOMAIN, false},
    {"*.", CONFIG_FORM_FLASH_DOMAIN, false},
    {"a.*", CONFIG_FORM_FLASH_DOMAIN, false},
    {"**", CONFIG_FORM_FLASH_DOMAIN, false},
    {"a\"b", CONFIG_FORM_FLASH_DOMAIN, false},
    {"a&b", CONFIG_FORM_FLASH_DOMAIN, false},
    {"a<b", CONFIG_FORM_FLASH_DOMAIN, false},
    {"http://a.example", CONFIG_FORM_FLASH_DOMAIN, false},
    {"a.example:80", CONFIG_FORM_FLASH_DOMAIN, false},
    {"*", CONFIG_FORM_FLASH_PORTS, true},
    {"1", CONFIG_FORM_FLASH_PORTS, true},
    {"65535", CONFIG_FORM_FLASH_PORTS, true},
    {"80-80", CONFIG_FORM_FLASH_PORTS, true},
    {"1-65535", CONFIG_FORM_FLASH_PORTS, true},
    {"", CONFIG_FORM_FLASH_PORTS, false},
    {"0", CONFIG_FORM_FLASH_PORTS, false},
    {"65536", CONFIG_FORM_FLASH_PORTS, false},
    {"80-79", CONFIG_FORM_FLASH_PORTS, false},
    {"80-", CONFIG_FORM_FLASH_PORTS, false},
    {"-80", CONFIG_FORM_FLASH_PORTS, false},
    {"1-2-3", CONFIG_FORM_FLASH_PORTS, false},
    {"80,81", CONFIG_FORM_FLASH_PORTS, false},
    {"80 ", CONFIG_FORM_FLASH_PORTS, false},
    {"/", CONFIG_FORM_MOUNT_PATH, true},
    {"/a/b.c/~d", CONFIG_FORM_MOUNT_PATH, true},
    {"", CONFIG_FORM_MOUNT_PATH, false},
    {"//", CONFIG_FORM_MOUNT_PATH, false},
    {"//a", CONFIG_FORM_MOUNT_PATH, false},
    {"/a//b", CONFIG_FORM_MOUNT_PATH, false},
    {"/.", CONFIG_FORM_MOUNT_PATH, false},
    {"/a/..", CONFIG_FORM_MOUNT_PATH, false},
    {"/...", CONFIG_FORM_MOUNT_PATH, true},
    {"/a%20b", CONFIG_FORM_MOUNT_PATH, false},
    {"/\xc3\xa9", CONFIG_FORM_MOUNT_PATH, false},
    {"//cdn.example/a.js", CONFIG_FORM_SCRIPT_URL, true},
    {"http://a/b", CONFIG_FORM_SCRIPT_URL, true},
    {"javascript:alert(1)", CONFIG_FORM_SCRIPT_URL, false},
    {"/a<b", CONFIG_FORM_SCRIPT_URL, false},
    {"", CONFIG_FORM_SCRIPT_URL, true},
    {"", CONFIG_FORM_SOCKET_PATH, false},
    {"a\n", CONFIG_FORM_SOCKET_PATH, false},
    {"", CONFIG_FORM_ANY, true},
};

static void test_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_OF(forms); i++) {
        struct config_form_fault fault = {0};
        bool got = config_form_check(forms[i].form, forms[i].value, &fault);
        CHECK_INT(forms[i].value, got, forms[i].want);
        CHECK(forms[i].value, got || fault.why != NULL);
    }
}

static void test_same_listen(void **state)
{
    (void)state;
    assert_true(config_listen_is_same("80", "0.0.0.0:80"));
    assert_true(config_listen_is_same("0.0.0.0:080", "80"));
    assert_true(config_listen_is_same("[::1]:80", "[0:0::1]:80"));
    assert_false(config_listen_is_same("80", "81"));
    assert_false(config_listen_is_same("0", "0"));
    assert_false(config_listen_is_same("0.0.0.0:80", "[::]:80"));
    assert_false(config_listen_is_same("127.0.0.1:80", "0.0.0.0:80"));
}

/* ---- reports ---- */

static const struct {
    const char *name;
    const char *in;
    const char *want;
} mistakes[] = {
    {"listen: no port",
     "{\n"
     "  \"listen\": \"127.0.0.1\",\n"
     "  \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": \"/a\"}]\n"
     "}\n",
     "t.json:2:13: listen is no address to listen on: allowed are \"IPV4:PORT\", \"[IPV6]:PORT\" "
     "and \"PORT\" (all of IPv4)\n"
     "    2 |   \"listen\": \"127.0.0.1\",\n"
     "      |             ^~~~~~~~~~~ write \"127.0.0.1:8080\"\n"},
    {"listen: IPv6 without brackets",
     "{\n"
     "  \"listen\": \"::1\",\n"
     "  \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": \"/a\"}]\n"
     "}\n",
     "t.json:2:13: listen is no address to listen on: allowed are \"IPV4:PORT\", \"[IPV6]:PORT\" "
     "and \"PORT\" (all of IPv4)\n"
     "    2 |   \"listen\": \"::1\",\n"
     "      |             ^~~~~ write \"[::1]:8080\"\n"},
    {"listen: a name",
     "{\n"
     "  \"listen\": \"localhost:8080\",\n"
     "  \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": \"/a\"}]\n"
     "}\n",
     "t.json:2:13: listen is no address to listen on: allowed are \"IPV4:PORT\", \"[IPV6]:PORT\" "
     "and \"PORT\" (all of IPv4)\n"
     "    2 |   \"listen\": \"localhost:8080\",\n"
     "      |             ^~~~~~~~~~~~~~~~ write \"127.0.0.1:8080\"\n"},
    {"listen: another name",
     "{\n"
     "  \"listen\": \"example.com:8080\",\n"
     "  \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": \"/a\"}]\n"
     "}\n",
     "t.json:2:13: listen is no address to listen on: allowed are \"IPV4:PORT\", \"[IPV6]:PORT\" "
     "and \"PORT\" (all of IPv4)\n"
     "    2 |   \"listen\": \"example.com:8080\",\n"
     "      |             ^~~~~~~~~~~~~~~~~~ write \"0.0.0.0:8080\" or a literal address: names "
     "are not looked up\n"},
    {"listen: port",
     "{\n"
     "  \"listen\": \"127.0.0.1:65536\",\n"
     "  \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": \"/a\"}]\n"
     "}\n",
     "t.json:2:13: listen is no address to listen on: allowed are \"IPV4:PORT\", \"[IPV6]:PORT\" "
     "and \"PORT\" (all of IPv4)\n"
     "    2 |   \"listen\": \"127.0.0.1:65536\",\n"
     "      |             ^~~~~~~~~~~~~~~~~ the port is a number up to 65535\n"},
    {"listen: nonsense",
     "{\n"
     "  \"listen\": \"foo\",\n"
     "  \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": \"/a\"}]\n"
     "}\n",
     "t.json:2:13: listen is no address to listen on: allowed are \"IPV4:PORT\", \"[IPV6]:PORT\" "
     "and \"PORT\" (all of IPv4)\n"
     "    2 |   \"listen\": \"foo\",\n"
     "      |             ^~~~~ write e.g. \"127.0.0.1:8080\"\n"},
    {"listen: the same twice",
     "{\n"
     "  \"listen\": [\"8080\", \"0.0.0.0:8080\", \"x\", \"[::1]:80\", \"[0::1]:80\"],\n"
     "  \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": \"/a\"}]\n"
     "}\n",
     "t.json:2:38: listen is no address to listen on: allowed are \"IPV4:PORT\", \"[IPV6]:PORT\" "
     "and \"PORT\" (all of IPv4)\n"
     "    2 |   \"listen\": [\"8080\", \"0.0.0.0:8080\", \"x\", \"[::1]:80\", \"[0::1]:80\"],\n"
     "      |                                      ^~~ write e.g. \"127.0.0.1:8080\"\n"
     "t.json:2:22: listen[1] is the same address as listen[0]\n"
     "    2 |   \"listen\": [\"8080\", \"0.0.0.0:8080\", \"x\", \"[::1]:80\", \"[0::1]:80\"],\n"
     "      |                      ^~~~~~~~~~~~~~ remove one of the two\n"
     "t.json:2:55: listen[4] is the same address as listen[3]\n"
     "    2 |   \"listen\": [\"8080\", \"0.0.0.0:8080\", \"x\", \"[::1]:80\", \"[0::1]:80\"],\n"
     "      |                                                       ^~~~~~~~~~~ remove one of the "
     "two\n"},
    {"origin: slash",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"origins\": \"https://a.example/\"}]\n"
     "}\n",
     "t.json:4:16: mounts[0].origins is no origin: allowed are \"same-origin\", \"*\", \"null\", "
     "\"scheme://host[:port]\" and \"!\" before one of the last two\n"
     "    4 |     \"origins\": \"https://a.example/\"}]\n"
     "      |                ^~~~~~~~~~~~~~~~~~~~ an origin ends before the \"/\"\n"},
    {"origin: no scheme",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"origins\": \"a.example\"}]\n"
     "}\n",
     "t.json:4:16: mounts[0].origins is no origin: allowed are \"same-origin\", \"*\", \"null\", "
     "\"scheme://host[:port]\" and \"!\" before one of the last two\n"
     "    4 |     \"origins\": \"a.example\"}]\n"
     "      |                ^~~~~~~~~~~ write \"https://a.example\"\n"},
    {"origin: wildcard",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"origins\": \"https://*.a.example\"}]\n"
     "}\n",
     "t.json:4:16: mounts[0].origins is no origin: allowed are \"same-origin\", \"*\", \"null\", "
     "\"scheme://host[:port]\" and \"!\" before one of the last two\n"
     "    4 |     \"origins\": \"https://*.a.example\"}]\n"
     "      |                ^~~~~~~~~~~~~~~~~~~~~ \"*\" only stands alone: name each origin\n"},
    {"origin: capitals",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"origins\": \"https://A.example\"}]\n"
     "}\n",
     "t.json:4:16: mounts[0].origins would never match\n"
     "    4 |     \"origins\": \"https://A.example\"}]\n"
     "      |                ^~~~~~~~~~~~~~~~~~~ browsers send it in small letters\n"},
    {"origin: own port",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"origins\": [\"https://a.example:443\", \"http://a.example:80\"]}]\n"
     "}\n",
     "t.json:4:17: mounts[0].origins would never match: browsers leave the scheme's own port out\n"
     "    4 |     \"origins\": [\"https://a.example:443\", \"http://a.example:80\"]}]\n"
     "      |                 ^~~~~~~~~~~~~~~~~~~~~~~ write \"https://a.example\"\n"
     "t.json:4:42: mounts[0].origins would never match: browsers leave the scheme's own port out\n"
     "    4 |     \"origins\": [\"https://a.example:443\", \"http://a.example:80\"]}]\n"
     "      |                                          ^~~~~~~~~~~~~~~~~~~~~ write "
     "\"http://a.example\"\n"},
    {"origin: a word for many is refused",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"origins\": \"!*\"}]\n"
     "}\n",
     "t.json:4:16: mounts[0].origins can't refuse a word for many origins\n"
     "    4 |     \"origins\": \"!*\"}]\n"
     "      |                ^~~~ write e.g. \"!http://app.example\"\n"},
    {"origin: a refusal without scheme",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"origins\": \"!a.example\"}]\n"
     "}\n",
     "t.json:4:16: mounts[0].origins is no origin: allowed are \"same-origin\", \"*\", \"null\", "
     "\"scheme://host[:port]\" and \"!\" before one of the last two\n"
     "    4 |     \"origins\": \"!a.example\"}]\n"
     "      |                ^~~~~~~~~~~~ write \"!https://a.example\"\n"},
    {"origin: a refusal's word",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"origins\": \"!nul\"}]\n"
     "}\n",
     "t.json:4:16: mounts[0].origins is no origin: allowed are \"same-origin\", \"*\", \"null\", "
     "\"scheme://host[:port]\" and \"!\" before one of the last two\n"
     "    4 |     \"origins\": \"!nul\"}]\n"
     "      |                ^~~~~~ did you mean \"!null\"?\n"},
    {"origin: a refusal with the own port",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"origins\": [\"*\", \"!http://a.example:80\"]}]\n"
     "}\n",
     "t.json:4:22: mounts[0].origins would never match: browsers leave the scheme's own port out\n"
     "    4 |     \"origins\": [\"*\", \"!http://a.example:80\"]}]\n"
     "      |                      ^~~~~~~~~~~~~~~~~~~~~~ write \"!http://a.example\"\n"},
    {"origins: nothing but refusals",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"origins\": [\"!http://a.example\", \"!null\"]}]\n"
     "}\n",
     "t.json:4:16: mounts[0].origins only refuses\n"
     "    4 |     \"origins\": [\"!http://a.example\", \"!null\"]}]\n"
     "      |                ^ add \"*\" to let all others in\n"},
    {"origin: word",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"origins\": \"same_origin\"}]\n"
     "}\n",
     "t.json:4:16: mounts[0].origins is no origin: allowed are \"same-origin\", \"*\", \"null\", "
     "\"scheme://host[:port]\" and \"!\" before one of the last two\n"
     "    4 |     \"origins\": \"same_origin\"}]\n"
     "      |                ^~~~~~~~~~~~~ did you mean \"same-origin\"?\n"},
    {"sockjs_url: relative",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"sockjs_url\": \"sockjs.js\"}]\n"
     "}\n",
     "t.json:4:19: mounts[0].sockjs_url must begin with \"/\", \"http://\" or \"https://\"\n"
     "    4 |     \"sockjs_url\": \"sockjs.js\"}]\n"
     "      |                   ^~~~~~~~~~~\n"},
    {"sockjs_url: quote",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"sockjs_url\": \"/a\\\"b\"}]\n"
     "}\n",
     "t.json:4:19: mounts[0].sockjs_url has a byte that a URL can't hold as it is\n"
     "    4 |     \"sockjs_url\": \"/a\\\"b\"}]\n"
     "      |                   ^~~~~~~ write it as %XX in hexadecimal\n"},
    {"socket path too long",
     "{\"listen\": \"8080\", \"mounts\": [{\"path\": \"/a\"}],\n"
     "  \"handlers\": {\"socket\": "
     "\"/"
     "sssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssss\"}}\n",
     "t.json:2:26: handlers.socket is longer than the 107 bytes that a unix socket allows\n"
     "    2 |   \"handlers\": {\"socket\": "
     "\"/"
     "sssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "...\n"
     "      |                          "
     "^~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~"
     "~~ this one has 108\n"},
    {"flash: no domains",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\"}],\n"
     "  \"flash\": {\"listen\": \"843\"}\n"
     "}\n",
     "t.json:4:23: flash.domains is missing\n"
     "    4 |   \"flash\": {\"listen\": \"843\"}\n"
     "      |                       ^~~~~ add \"domains\": [\"www.example.com\"]\n"},
    {"flash: no port to name",
     "{\n"
     "  \"listen\": \"0\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\"}],\n"
     "  \"flash\": {\"listen\": \"0\", \"domains\": \"*\"}\n"
     "}\n",
     "t.json:4:23: flash.ports is missing\n"
     "    4 |   \"flash\": {\"listen\": \"0\", \"domains\": \"*\"}\n"
     "      |                       ^~~ add \"ports\": [\"8080\"]\n"},
    {"flash: an origin, a port with its host, a bad range",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\"}],\n"
     "  \"flash\": {\"domains\": [\"http://a.example:80/\", \"a.example:80\"],\n"
     "    \"ports\": [\"9-8\", \"http\"]}\n"
     "}\n",
     "t.json:4:25: flash.domains is no host for Flash: allowed are \"*\", \"a.example\", "
     "\"*.a.example\" and an IPv4 address\n"
     "    4 |   \"flash\": {\"domains\": [\"http://a.example:80/\", \"a.example:80\"],\n"
     "      |                         ^~~~~~~~~~~~~~~~~~~~~~ write the host alone: \"a.example\"\n"
     "t.json:4:49: flash.domains is no host for Flash: allowed are \"*\", \"a.example\", "
     "\"*.a.example\" and an IPv4 address\n"
     "    4 |   \"flash\": {\"domains\": [\"http://a.example:80/\", \"a.example:80\"],\n"
     "      |                                                 ^~~~~~~~~~~~~~ ports stand in "
     "flash.ports\n"
     "t.json:5:15: flash.ports is a range that ends before it begins\n"
     "    5 |     \"ports\": [\"9-8\", \"http\"]}\n"
     "      |               ^~~~~\n"
     "t.json:5:22: flash.ports is no port: allowed are \"843\", \"8000-8099\" and \"*\"\n"
     "    5 |     \"ports\": [\"9-8\", \"http\"]}\n"
     "      |                      ^~~~~~ a port is a number from 1 to 65535\n"},
    {"queue_soft above queue_hard",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"queue_hard\": \"4m\", \"queue_soft\": \"5m\"}]\n"
     "}\n",
     "t.json:4:39: mounts[0].queue_soft is above queue_hard: 4m\n"
     "    4 |     \"queue_hard\": \"4m\", \"queue_soft\": \"5m\"}]\n"
     "      |                                       ^~~~ write at most \"4m\" or raise "
     "queue_hard\n"},
    {"queue_soft above the raised queue_hard",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"queue_soft\": \"3m\"}]\n"
     "}\n",
     "t.json:4:19: mounts[0].queue_soft is above queue_hard: 2m\n"
     "    4 |     \"queue_soft\": \"3m\"}]\n"
     "      |                   ^~~~ write at most \"2m\" or raise queue_hard\n"},
    {"queue_hard below two messages",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"queue_hard\": \"256k\"}]\n"
     "}\n",
     "t.json:4:19: mounts[0].queue_hard must be at least twice max_message: 2m\n"
     "    4 |     \"queue_hard\": \"256k\"}]\n"
     "      |                   ^~~~~~ write at least \"2m\" or lower max_message\n"},
    {"deflate with secrets",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"secrets\": true, \"deflate\": true}]\n"
     "}\n",
     "t.json:4:33: mounts[0].deflate with secrets: sizes of compressed messages tell what is in "
     "them (CRIME, BREACH)\n"
     "    4 |     \"secrets\": true, \"deflate\": true}]\n"
     "      |                                 ^~~~ set one of the two to false, or move the "
     "secrets "
     "to a mount of their own\n"},
    {"deflate_memory below one message",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"workers\": 2,\n"
     "  \"limits\": {\"deflate_memory\": \"2m\"},\n"
     "  \"mounts\": [{\"path\": \"/a\", \"deflate\": true}]\n"
     "}\n",
     "t.json:3:32: limits.deflate_memory has no room for a largest message in each worker: 3m\n"
     "    3 |   \"limits\": {\"deflate_memory\": \"2m\"},\n"
     "      |                                ^~~~ write at least \"3m\" or lower max_message\n"},
    {"url above head",
     "{\n"
     "  \"limits\": {\"head\": \"8k\", \"url\": \"16k\"},\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:35: limits.url is above limits.head: 8k\n"
     "    2 |   \"limits\": {\"head\": \"8k\", \"url\": \"16k\"},\n"
     "      |                                   ^~~~~ write at most \"8k\" or raise limits.head\n"},
    {"url above the default head",
     "{\n"
     "  \"limits\": {\"url\": \"20k\"},\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:21: limits.url is above limits.head: 16k\n"
     "    2 |   \"limits\": {\"url\": \"20k\"},\n"
     "      |                     ^~~~~ write at most \"16k\" or raise limits.head\n"},
    {"two mounts of one path",
     "{\"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     " \"mounts\": [{\"path\": \"/a\"}, {\"path\": \"/b\"},\n"
     "  {\"path\": \"/a\"}]}\n",
     "t.json:3:12: mounts[2].path is the same as that of mounts[0]\n"
     "    3 |   {\"path\": \"/a\"}]}\n"
     "      |            ^~~~ each mount needs its own path\n"},
    {"mount path: no slash",
     "{\"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"a\"}]}\n",
     "t.json:1:74: mounts[0].path must begin with \"/\"\n"
     "    1 | {\"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": "
     "[{\"path\": \"a\"}]}\n"
     "      |                                                                          ^~~ write "
     "\"/a\"\n"},
    {"mount path: slash at the end",
     "{\"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a//\"}]}\n",
     "t.json:1:74: mounts[0].path must not end with \"/\"\n"
     "    1 | {\"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": "
     "[{\"path\": \"/a//\"}]}\n"
     "      |                                                                          ^~~~~~ "
     "write \"/a\"\n"},
    {"mount path: dots",
     "{\"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a/../b\"}]}\n",
     "t.json:1:74: mounts[0].path has an empty, \".\" or \"..\" segment\n"
     "    1 | {\"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": "
     "[{\"path\": \"/a/../b\"}]}\n"
     "      |                                                                          "
     "^~~~~~~~~\n"},
    {"mount path: odd byte",
     "{\"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a?b\"}]}\n",
     "t.json:1:74: mounts[0].path has a byte that a URL path can't hold as it is\n"
     "    1 | {\"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": "
     "[{\"path\": \"/a?b\"}]}\n"
     "      |                                                                          ^~~~~~ "
     "letters, digits and -._~ are safe\n"},
};

static void test_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_OF(mistakes); i++) {
        struct buf out;
        buf_init(&out, CONFIG_REPORT_MAX_BYTES);
        struct config *config = NULL;
        enum err e = config_parse("t.json", span_str(mistakes[i].in), NULL, &config, &out);
        CHECK_INT(mistakes[i].name, e, ERR_CONFIG);
        CHECK(mistakes[i].name, config == NULL);
        check_span(mistakes[i].name, buf_span(&out), span_str(mistakes[i].want));
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_same_listen),
        cmocka_unit_test(test_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
