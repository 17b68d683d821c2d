/* config reports: every kind of mistake with its report byte for byte; what bounds a report. */
#include <stdio.h>
#include <string.h>

#include "harness/test.h"
#include "server/config.h"
#include "server/config_report.h"

static const struct {
    const char *name;
    const char *in;
    const char *want;
} mistakes[] = {
    {"nothing required", "{}\n",
     "t.json:1:1: listen is missing\n"
     "    1 | {}\n"
     "      | ^ add \"listen\": \"127.0.0.1:8080\", or give --listen\n"
     "t.json:1:1: handlers.socket is missing\n"
     "    1 | {}\n"
     "      | ^ add \"handlers\": {\"socket\": \"/run/postern/handlers.sock\"}, or give "
     "--handlers\n"
     "t.json:1:1: mounts is missing\n"
     "    1 | {}\n"
     "      | ^ add \"mounts\": [{\"path\": \"/echo\"}]\n"},
    {"TLS without its files",
     "{\"tls\": {\"listen\": \"8443\"}, \"handlers\": {\"socket\": \"/s\"}, "
     "\"mounts\": [{\"path\": \"/a\"}]}\n",
     "t.json:1:20: tls.cert is missing\n"
     "    1 | {\"tls\": {\"listen\": \"8443\"}, \"handlers\": {\"socket\": \"/s\"}, "
     "\"mounts\": [{\"path\": \"/a\"}]}\n"
     "      |                    ^~~~~~ add \"cert\": \"/etc/postern/cert.pem\"\n"
     "t.json:1:20: tls.key is missing\n"
     "    1 | {\"tls\": {\"listen\": \"8443\"}, \"handlers\": {\"socket\": \"/s\"}, "
     "\"mounts\": [{\"path\": \"/a\"}]}\n"
     "      |                    ^~~~~~ add \"key\": \"/etc/postern/key.pem\"\n"},
    {"a user who is not there",
     "{\"listen\": \"8080\", \"handlers\": {\"socket\": \"/s\",\n"
     "  \"users\": [\"root\", \"no-such-user\"]}, \"mounts\": [{\"path\": \"/a\"}]}\n",
     "t.json:2:12: handlers.users: this system has no user \"no-such-user\"\n"
     "    2 |   \"users\": [\"root\", \"no-such-user\"]}, \"mounts\": [{\"path\": \"/a\"}]}\n"
     "      |            ^ make it, or give the id of one (`id -u NAME`)\n"},
    {"no socket in the section",
     "{\"handlers\": {}, \"listen\": \"8080\", \"mounts\": [{\"path\": \"/a\"}]}\n",
     "t.json:1:14: handlers.socket is missing\n"
     "    1 | {\"handlers\": {}, \"listen\": \"8080\", \"mounts\": [{\"path\": \"/a\"}]}\n"
     "      |              ^ add \"socket\": \"/run/postern/handlers.sock\", or give --handlers\n"},
    {"not an object", "[]\n",
     "t.json:1:1: a config must be an object: { ... }\n"
     "    1 | []\n"
     "      | ^\n"},
    {"unknown key, near",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"heartbeet\": \"25s\"}]\n"
     "}\n",
     "t.json:4:5: unknown key \"heartbeet\" in mounts[0]\n"
     "    4 |     \"heartbeet\": \"25s\"}]\n"
     "      |     ^~~~~~~~~~~ did you mean \"heartbeat\"?\n"},
    {"unknown key, small slips",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"Heart-beat\": \"25s\"}]\n"
     "}\n",
     "t.json:4:5: unknown key \"Heart-beat\" in mounts[0]\n"
     "    4 |     \"Heart-beat\": \"25s\"}]\n"
     "      |     ^~~~~~~~~~~~ did you mean \"heartbeat\"?\n"},
    {"unknown key, nothing near",
     "{\n"
     "  \"frobnicate\": 1,\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:3: unknown key \"frobnicate\" at the top level\n"
     "    2 |   \"frobnicate\": 1,\n"
     "      |   ^~~~~~~~~~~~ known are listen, workers, drain, demo, log, tls, flash, handlers, "
     "limits, mounts\n"},
    {"unknown key with a dot",
     "{\n"
     "  \"log.level\": \"info\",\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:3: unknown key \"log.level\" at the top level\n"
     "    2 |   \"log.level\": \"info\",\n"
     "      |   ^~~~~~~~~~~ known are listen, workers, drain, demo, log, tls, flash, handlers, "
     "limits, mounts\n"},
    {"key on the wrong level",
     "{\n"
     "  \"heartbeat\": \"25s\",\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:3: unknown key \"heartbeat\" at the top level\n"
     "    2 |   \"heartbeat\": \"25s\",\n"
     "      |   ^~~~~~~~~~~ it belongs into \"mounts\"\n"},
    {"top key in a section",
     "{\"log\": {\"drain\": \"1s\"}, \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, "
     "\"mounts\": [{\"path\": \"/a\"}]}\n",
     "t.json:1:10: unknown key \"drain\" in log\n"
     "    1 | {\"log\": {\"drain\": \"1s\"}, \"listen\": \"8080\", \"handlers\": {\"socket\": "
     "\"h.sock\"}, \"mounts\": [{\"path\": \"/a\"}]}\n"
     "      |          ^~~~~~~ it belongs to the top level\n"},
    {"section is no object",
     "{\n"
     "  \"log\": \"info\",\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:10: log must be an object: { ... }\n"
     "    2 |   \"log\": \"info\",\n"
     "      |          ^~~~~~\n"},
    {"mounts is no list",
     "{\"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": {\"path\": "
     "\"/a\"}}\n",
     "t.json:1:64: mounts must be a list: [ {...}, ... ]\n"
     "    1 | {\"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": "
     "{\"path\": \"/a\"}}\n"
     "      |                                                                ^\n"},
    {"mount is no object",
     "{\"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [\"/a\"]}\n",
     "t.json:1:65: mounts[0] must be an object: { ... }\n"
     "    1 | {\"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": "
     "[\"/a\"]}\n"
     "      |                                                                 ^~~~\n"},
    {"no mounts",
     "{\"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": []}\n",
     "t.json:1:64: mounts must have at least one mount\n"
     "    1 | {\"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": []}\n"
     "      |                                                                ^ write [{\"path\": "
     "\"/echo\"}]\n"},
    {"mount without path",
     "{\"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{}]}\n",
     "t.json:1:65: mounts[0].path is missing\n"
     "    1 | {\"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{}]}\n"
     "      |                                                                 ^ add \"path\": "
     "\"/echo\"\n"},
    {"duration as a number",
     "{\n"
     "  \"drain\": 25,\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:12: drain must be a duration such as \"25s\", not a number\n"
     "    2 |   \"drain\": 25,\n"
     "      |            ^~ write \"25s\" for seconds\n"},
    {"duration without unit",
     "{\n"
     "  \"drain\": \"25\",\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:12: drain has no unit: the units are \"ms\", \"s\", \"m\" and \"h\"\n"
     "    2 |   \"drain\": \"25\",\n"
     "      |            ^~~~\n"},
    {"duration with another unit",
     "{\n"
     "  \"drain\": \"25sec\",\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:12: drain has the unknown unit \"sec\": the units are \"ms\", \"s\", \"m\" and "
     "\"h\"\n"
     "    2 |   \"drain\": \"25sec\",\n"
     "      |            ^~~~~~~\n"},
    {"duration with a fraction",
     "{\n"
     "  \"drain\": \"1.5s\",\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:12: drain must be a whole number with a unit, such as \"25s\"\n"
     "    2 |   \"drain\": \"1.5s\",\n"
     "      |            ^~~~~~ use a smaller unit\n"},
    {"duration out of range",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"heartbeat\": \"2h\"}]\n"
     "}\n",
     "t.json:4:18: mounts[0].heartbeat is out of range: allowed is 1s to 1h\n"
     "    4 |     \"heartbeat\": \"2h\"}]\n"
     "      |                  ^~~~\n"},
    {"duration beyond 64 bits",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"heartbeat\": \"99999999999999999999h\"}]\n"
     "}\n",
     "t.json:4:18: mounts[0].heartbeat is out of range: allowed is 1s to 1h\n"
     "    4 |     \"heartbeat\": \"99999999999999999999h\"}]\n"
     "      |                  ^~~~~~~~~~~~~~~~~~~~~~~\n"},
    {"duration is a list",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"heartbeat\": [\"2s\"]}]\n"
     "}\n",
     "t.json:4:18: mounts[0].heartbeat must be a duration such as \"25s\", not a list\n"
     "    4 |     \"heartbeat\": [\"2s\"]}]\n"
     "      |                  ^\n"},
    {"size with another unit",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"max_message\": \"1kb\"}]\n"
     "}\n",
     "t.json:4:20: mounts[0].max_message has the unknown unit \"kb\": the units are \"k\", \"m\" "
     "and \"g\" (none for bytes)\n"
     "    4 |     \"max_message\": \"1kb\"}]\n"
     "      |                    ^~~~~\n"},
    {"size out of range",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"max_message\": 0}]\n"
     "}\n",
     "t.json:4:20: mounts[0].max_message is out of range: allowed is 1 to 64m\n"
     "    4 |     \"max_message\": 0}]\n"
     "      |                    ^\n"},
    {"size beyond 64 bits",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"max_message\": 184467440737095516160}]\n"
     "}\n",
     "t.json:4:20: mounts[0].max_message is out of range: allowed is 1 to 64m\n"
     "    4 |     \"max_message\": 184467440737095516160}]\n"
     "      |                    ^~~~~~~~~~~~~~~~~~~~~\n"},
    {"size is empty",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"max_message\": \"\"}]\n"
     "}\n",
     "t.json:4:20: mounts[0].max_message must be a whole number, with a unit or not, such as "
     "\"64k\"\n"
     "    4 |     \"max_message\": \"\"}]\n"
     "      |                    ^~\n"},
    {"number in quotes",
     "{\n"
     "  \"workers\": \"4\",\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:14: workers must be a whole number, not a string\n"
     "    2 |   \"workers\": \"4\",\n"
     "      |              ^~~ write it without quotes: 4\n"},
    {"a word that is none of a number's",
     "{\n"
     "  \"workers\": \"aut\",\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:14: unknown word \"aut\" for workers: write \"auto\" or a whole number\n"
     "    2 |   \"workers\": \"aut\",\n"
     "      |              ^~~~~ did you mean \"auto\"?\n"},
    {"number with a fraction",
     "{\n"
     "  \"workers\": 1.5,\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:14: workers must be a whole number, in digits only\n"
     "    2 |   \"workers\": 1.5,\n"
     "      |              ^~~\n"},
    {"number with an exponent",
     "{\n"
     "  \"workers\": 1e2,\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:14: workers must be a whole number, in digits only\n"
     "    2 |   \"workers\": 1e2,\n"
     "      |              ^~~\n"},
    {"negative number",
     "{\n"
     "  \"workers\": -1,\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:14: workers is out of range: allowed is 1 to 256\n"
     "    2 |   \"workers\": -1,\n"
     "      |              ^~\n"},
    {"number out of range",
     "{\n"
     "  \"workers\": 257,\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:14: workers is out of range: allowed is 1 to 256\n"
     "    2 |   \"workers\": 257,\n"
     "      |              ^~~\n"},
    {"boolean in quotes",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"cookie\": \"true\"}]\n"
     "}\n",
     "t.json:4:15: mounts[0].cookie must be true or false, not a string\n"
     "    4 |     \"cookie\": \"true\"}]\n"
     "      |               ^~~~~~ write it without quotes: true\n"},
    {"null",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"cookie\": null}]\n"
     "}\n",
     "t.json:4:15: mounts[0].cookie must be true or false, not null\n"
     "    4 |     \"cookie\": null}]\n"
     "      |               ^~~~ remove it to have the default\n"},
    {"mode as a number",
     "{\n"
     "  \"listen\": \"8080\", \"mounts\": [{\"path\": \"/a\"}],\n"
     "  \"handlers\": {\"socket\": \"h.sock\", \"mode\": 660}\n"
     "}\n",
     "t.json:3:44: handlers.mode must be a file mode in quotes such as \"0660\", not a number\n"
     "    3 |   \"handlers\": {\"socket\": \"h.sock\", \"mode\": 660}\n"
     "      |                                            ^~~\n"},
    {"mode not octal",
     "{\n"
     "  \"listen\": \"8080\", \"mounts\": [{\"path\": \"/a\"}],\n"
     "  \"handlers\": {\"socket\": \"h.sock\", \"mode\": \"0680\"}\n"
     "}\n",
     "t.json:3:44: handlers.mode must be three or four octal digits, such as \"0660\"\n"
     "    3 |   \"handlers\": {\"socket\": \"h.sock\", \"mode\": \"0680\"}\n"
     "      |                                            ^~~~~~\n"},
    {"mode out of range",
     "{\n"
     "  \"listen\": \"8080\", \"mounts\": [{\"path\": \"/a\"}],\n"
     "  \"handlers\": {\"socket\": \"h.sock\", \"mode\": \"1777\"}\n"
     "}\n",
     "t.json:3:44: handlers.mode is out of range: allowed is 0000 to 0777\n"
     "    3 |   \"handlers\": {\"socket\": \"h.sock\", \"mode\": \"1777\"}\n"
     "      |                                            ^~~~~~\n"},
    {"mode too short",
     "{\n"
     "  \"listen\": \"8080\", \"mounts\": [{\"path\": \"/a\"}],\n"
     "  \"handlers\": {\"socket\": \"h.sock\", \"mode\": \"60\"}\n"
     "}\n",
     "t.json:3:44: handlers.mode must be three or four octal digits, such as \"0660\"\n"
     "    3 |   \"handlers\": {\"socket\": \"h.sock\", \"mode\": \"60\"}\n"
     "      |                                            ^~~~\n"},
    {"unknown word",
     "{\n"
     "  \"log\": {\"level\": \"debgu\"},\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:20: unknown word \"debgu\" for log.level: write \"debug\", \"info\", \"warn\" or "
     "\"error\"\n"
     "    2 |   \"log\": {\"level\": \"debgu\"},\n"
     "      |                    ^~~~~~~ did you mean \"debug\"?\n"},
    {"unknown word, nothing near",
     "{\n"
     "  \"log\": {\"level\": \"verbose\"},\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:20: unknown word \"verbose\" for log.level: write \"debug\", \"info\", \"warn\" or "
     "\"error\"\n"
     "    2 |   \"log\": {\"level\": \"verbose\"},\n"
     "      |                    ^~~~~~~~~\n"},
    {"word is a number",
     "{\n"
     "  \"log\": {\"level\": 3},\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]\n"
     "}\n",
     "t.json:2:20: log.level must be a word in quotes, not a number\n"
     "    2 |   \"log\": {\"level\": 3},\n"
     "      |                    ^\n"},
    {"unknown transport",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"transports\": [\"websocket\", \"xhr-streaming\"]}]\n"
     "}\n",
     "t.json:4:33: unknown word \"xhr-streaming\" for mounts[0].transports: write \"websocket\", "
     "\"xhr_streaming\", \"xhr\", \"eventsource\", \"htmlfile\", \"jsonp\" or \"iframe\"\n"
     "    4 |     \"transports\": [\"websocket\", \"xhr-streaming\"]}]\n"
     "      |                                 ^~~~~~~~~~~~~~~ did you mean \"xhr_streaming\"?\n"},
    {"no dialect",
     "{\n"
     "  \"listen\": \"8080\", \"handlers\": {\"socket\": \"h.sock\"},\n"
     "  \"mounts\": [{\"path\": \"/a\",\n"
     "    \"dialects\": []}]\n"
     "}\n",
     "t.json:4:17: mounts[0].dialects must not be empty\n"
     "    4 |     \"dialects\": []}]\n"
     "      |                 ^\n"},
    {"string is a number",
     "{\"listen\": 8080, \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]}\n",
     "t.json:1:12: listen must be a string or a list of strings, not a number\n"
     "    1 | {\"listen\": 8080, \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]}\n"
     "      |            ^~~~ write \"8080\"\n"},
    {"list element is a number",
     "{\"listen\": [\"80\", 8080], \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": [{\"path\": "
     "\"/a\"}]}\n",
     "t.json:1:19: listen must be a string or a list of strings, not a number\n"
     "    1 | {\"listen\": [\"80\", 8080], \"handlers\": {\"socket\": \"h.sock\"}, \"mounts\": "
     "[{\"path\": \"/a\"}]}\n"
     "      |                   ^~~~ write \"8080\"\n"},
    {"many in one file",
     "{\n"
     "  \"listen\": \"foo\", // 1\n"
     "  \"workers\": 0,\n"
     "  \"wrokers\": 1,\n"
     "  \"drain\": 5,\n"
     "  \"mounts\": [\n"
     "    {\"path\": \"a\", \"heartbeat\": \"1\"},\n"
     "    {\"cookie\": 1}\n"
     "  ]\n"
     "}\n",
     "t.json:2:13: listen is no address to listen on: allowed are \"IPV4:PORT\", \"[IPV6]:PORT\" "
     "and \"PORT\" (all of IPv4)\n"
     "    2 |   \"listen\": \"foo\", // 1\n"
     "      |             ^~~~~ write e.g. \"127.0.0.1:8080\"\n"
     "t.json:3:14: workers is out of range: allowed is 1 to 256\n"
     "    3 |   \"workers\": 0,\n"
     "      |              ^\n"
     "t.json:4:3: unknown key \"wrokers\" at the top level\n"
     "    4 |   \"wrokers\": 1,\n"
     "      |   ^~~~~~~~~ did you mean \"workers\"?\n"
     "t.json:5:12: drain must be a duration such as \"25s\", not a number\n"
     "    5 |   \"drain\": 5,\n"
     "      |            ^ write \"5s\" for seconds\n"
     "t.json:7:14: mounts[0].path must begin with \"/\"\n"
     "    7 |     {\"path\": \"a\", \"heartbeat\": \"1\"},\n"
     "      |              ^~~ write \"/a\"\n"
     "t.json:7:32: mounts[0].heartbeat has no unit: the units are \"ms\", \"s\", \"m\" and \"h\"\n"
     "    7 |     {\"path\": \"a\", \"heartbeat\": \"1\"},\n"
     "      |                                ^~~\n"
     "t.json:8:16: mounts[1].cookie must be true or false, not a number\n"
     "    8 |     {\"cookie\": 1}\n"
     "      |                ^\n"
     "t.json:8:5: mounts[1].path is missing\n"
     "    8 |     {\"cookie\": 1}\n"
     "      |     ^ add \"path\": \"/echo\"\n"
     "t.json:1:1: handlers.socket is missing\n"
     "    1 | {\n"
     "      | ^ add \"handlers\": {\"socket\": \"/run/postern/handlers.sock\"}, or give "
     "--handlers\n"},
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

/* A list of n unknown keys. */
static struct span unknown_keys(char *text, size_t room, unsigned n)
{
    size_t len = (size_t)snprintf(text, room,
                                  "{\"listen\": \"80\", \"handlers\": {\"socket\": \"s\"}, "
                                  "\"demo\": true");
    for (unsigned i = 0; i < n; i++) {
        len += (size_t)snprintf(text + len, room - len, ",\n\"unknown%u\": 1", i);
    }
    len += (size_t)snprintf(text + len, room - len, "}");
    return span_of(text, len);
}

static size_t count_of(struct span text, const char *what)
{
    size_t n = 0;
    const char *at = memmem(text.ptr, text.len, what, strlen(what));
    while (at != NULL) {
        n++;
        text = span_skip(text, (size_t)(at - text.ptr) + strlen(what));
        at = memmem(text.ptr, text.len, what, strlen(what));
    }
    return n;
}

static void test_many_problems(void **state)
{
    (void)state;
    for (unsigned n = CONFIG_MAX_PROBLEMS; n <= CONFIG_MAX_PROBLEMS + 1; n++) {
        char text[4096];
        struct buf out;
        buf_init(&out, CONFIG_REPORT_MAX_BYTES);
        struct config *config = NULL;
        enum err e =
            config_parse("t.json", unknown_keys(text, sizeof text, n), NULL, &config, &out);
        assert_int_equal(e, ERR_CONFIG);
        assert_int_equal(count_of(buf_span(&out), "unknown key"), CONFIG_MAX_PROBLEMS);
        assert_int_equal(count_of(buf_span(&out), "t.json: 1 more problems are not shown\n"),
                         n > CONFIG_MAX_PROBLEMS);
        buf_fini(&out);
    }
}

/* A report that is too small for all holds whole problems and is still an error. */
static void test_small_report(void **state)
{
    (void)state;
    char text[4096];
    struct buf out;
    buf_init(&out, 400);
    struct config *config = NULL;
    enum err e = config_parse("t.json", unknown_keys(text, sizeof text, 9), NULL, &config, &out);
    assert_int_equal(e, ERR_CONFIG);
    struct span report = buf_span(&out);
    assert_true(count_of(report, "unknown key") >= 1);
    assert_int_equal(count_of(report, "known are"), count_of(report, "unknown key"));
    assert_int_equal(report.ptr[report.len - 1], '\n');
    buf_fini(&out);
}

/* ---- the nearest name ---- */

static const struct {
    const char *query;
    const char *want; /* of the names below, NULL: none */
} near_cases[] = {
    {"heartbeat", "heartbeat"},
    {"heartbeats", "heartbeat"},
    {"haertbeat", "heartbeat"},
    {"HEARTBEAT", "heartbeat"},
    {"heatbet", "heartbeat"},
    {"hrtbeats", "heartbeat"},
    {"htbeat", NULL},
    {"pth", "path"},
    {"ath", "path"},
    {"pa", NULL},
    {"", NULL},
    {"aht", NULL},
    {"ul", "url"},
    {"u", NULL},
    {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", NULL},
};

static void test_nearest(void **state)
{
    (void)state;
    static const char *const names[] = {"heartbeat", "path", "url"};
    for (size_t i = 0; i < N_OF(near_cases); i++) {
        struct config_nearest nearest;
        config_nearest_begin(&nearest, span_str(near_cases[i].query));
        for (size_t k = 0; k < N_OF(names); k++) {
            config_nearest_offer(&nearest, span_str(names[k]));
        }
        check_span(near_cases[i].query, span_str(nearest.name), span_str(near_cases[i].want));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_many_problems),
        cmocka_unit_test(test_small_report),
        cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
