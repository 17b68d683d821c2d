/*
 * config_value: see config_value.h. Numbers are read from the source text: cJSON keeps them as
 * doubles, which lose the low digits of large ones and hide a fraction.
 */
#include "server/config_value.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "server/config.h"

/* One value that is being read. */
struct reading {
    const struct config_target *target;
    const struct jsonc *doc;
    const struct jsonc_node *node;
    struct config_report *report;
};

static const char *const type_texts[] = {
#define X(suffix, name, text) [CONFIG_TYPE_##suffix] = (text),
    CONFIG_TYPE_MAP(X)
#undef X
};

static void *member_of(const struct config_field *field, void *part)
{
    return (char *)part + field->offset;
}

/* Stores a number into a member of any unsigned width (an enum and bool included). */
static bool put_number(const struct config_target *target, uint64_t value)
{
    void *member = member_of(target->field, target->part);
    unsigned as_unsigned = (unsigned)value;
    bool as_bool = value != 0;
    switch (target->field->bytes) {
    case sizeof value:
        memcpy(member, &value, sizeof value);
        return true;
    case sizeof as_unsigned:
        memcpy(member, &as_unsigned, sizeof as_unsigned);
        return true;
    default:
        ASSERT(target->field->bytes == sizeof as_bool);
        memcpy(member, &as_bool, sizeof as_bool);
        return true;
    }
}

static bool fail(const struct reading *r, const char *hint, const char *why)
{
    config_problem(r->report, r->node->value, hint, "%s %s", r->target->label, why);
    return false;
}

/* The value as it stands in the source. */
static struct span raw_of(const struct reading *r)
{
    return span_of(r->report->text.ptr + r->node->value.at, r->node->value.len);
}

/* ---- a wrong type ---- */

static const char *name_of_type(const struct cJSON *item)
{
    if (cJSON_IsObject(item)) {
        return "an object";
    }
    if (cJSON_IsArray(item)) {
        return "a list";
    }
    if (cJSON_IsString(item)) {
        return "a string";
    }
    if (cJSON_IsNumber(item)) {
        return "a number";
    }
    return cJSON_IsNull(item) ? "null" : "true or false";
}

static bool is_digits(struct span s)
{
    uint64_t ignored;
    return decimal_parse(s, UINT64_MAX, &ignored) == ERR_OK;
}

/* What to write when the value is right but for its quotes or its unit. */
static void hint_type(const struct reading *r, char hint[CONFIG_HINT_BYTES])
{
    char quoted[CONFIG_QUOTE_BYTES];
    const struct cJSON *item = r->node->item;
    enum config_type type = r->target->field->type;
    struct span raw = raw_of(r);
    bool wants_bare = type == CONFIG_TYPE_UNSIGNED || type == CONFIG_TYPE_BOOL;
    bool is_text = type == CONFIG_TYPE_STRING || type == CONFIG_TYPE_STRINGS;
    hint[0] = '\0';
    if (cJSON_IsNull(item)) {
        (void)snprintf(hint, CONFIG_HINT_BYTES, "remove it to have the default");
    } else if (cJSON_IsString(item) && wants_bare && raw.len > 2) {
        (void)snprintf(hint, CONFIG_HINT_BYTES, "write it without quotes: %s",
                       config_quote(span_of(raw.ptr + 1, raw.len - 2), quoted));
    } else if (cJSON_IsNumber(item) && type == CONFIG_TYPE_DURATION && is_digits(raw)) {
        (void)snprintf(hint, CONFIG_HINT_BYTES, "write \"%ss\" for seconds",
                       config_quote(raw, quoted));
    } else if (cJSON_IsNumber(item) && is_text) {
        (void)snprintf(hint, CONFIG_HINT_BYTES, "write \"%s\"", config_quote(raw, quoted));
    }
}

static bool fail_type(const struct reading *r)
{
    char hint[CONFIG_HINT_BYTES];
    hint_type(r, hint);
    config_problem(r->report, r->node->value, hint, "%s must be %s, not %s", r->target->label,
                   type_texts[r->target->field->type], name_of_type(r->node->item));
    return false;
}

/* ---- numbers ---- */

static bool fail_range(const struct reading *r)
{
    char least[CONFIG_NUMBER_BYTES];
    char most[CONFIG_NUMBER_BYTES];
    const struct config_field *field = r->target->field;
    config_problem(r->report, r->node->value, "", "%s is out of range: allowed is %s to %s",
                   r->target->label, config_format_number(field->type, field->min, least),
                   config_format_number(field->type, field->max, most));
    return false;
}

static bool put_in_range(const struct reading *r, uint64_t value)
{
    const struct config_field *field = r->target->field;
    if (value < field->min || value > field->max) {
        return fail_range(r);
    }
    return put_number(r->target, value);
}

static const char *units_text(enum config_type type)
{
    return type == CONFIG_TYPE_DURATION ? "\"ms\", \"s\", \"m\" and \"h\""
                                        : "\"k\", \"m\" and \"g\" (none for bytes)";
}

/* The digits of `text` are known to be `n_digits` long; the rest is its unit. */
static bool set_digits(const struct reading *r, struct span text, size_t n_digits)
{
    enum config_type type = r->target->field->type;
    struct span unit_text = span_skip(text, n_digits);
    const struct config_word *unit = config_units(type);
    uint64_t factor = 1;
    if (unit_text.len != 0 || type == CONFIG_TYPE_DURATION) {
        while (unit->word != NULL && !span_eq(span_str(unit->word), unit_text)) {
            unit++;
        }
        if (unit->word == NULL) {
            char quoted[CONFIG_QUOTE_BYTES];
            config_problem(r->report, r->node->value, "", "%s has %s%s%s: the units are %s",
                           r->target->label, unit_text.len != 0 ? "the unknown unit \"" : "no unit",
                           config_quote(unit_text, quoted), unit_text.len != 0 ? "\"" : "",
                           units_text(type));
            return false;
        }
        factor = unit->value;
    }
    uint64_t value = 0;
    bool is_huge = n_digits > DECIMAL_MAX_CHARS ||
                   decimal_parse(span_of(text.ptr, n_digits), UINT64_MAX, &value) != ERR_OK ||
                   __builtin_mul_overflow(value, factor, &value);
    return is_huge ? fail_range(r) : put_in_range(r, value);
}

static size_t count_digits(struct span text)
{
    size_t n = 0;
    while (n < text.len && text.ptr[n] >= '0' && text.ptr[n] <= '9') {
        n++;
    }
    return n;
}

/* "64k", "25s" */
static bool set_united(const struct reading *r)
{
    struct span text = span_str(r->node->item->valuestring);
    size_t n_digits = count_digits(text);
    bool has_fraction =
        n_digits < text.len && (text.ptr[n_digits] == '.' || text.ptr[n_digits] == ',');
    if (n_digits == 0 || has_fraction) {
        bool is_duration = r->target->field->type == CONFIG_TYPE_DURATION;
        return fail(r, has_fraction ? "use a smaller unit" : "",
                    is_duration ? "must be a whole number with a unit, such as \"25s\""
                                : "must be a whole number, with a unit or not, such as \"64k\"");
    }
    return set_digits(r, text, n_digits);
}

/* A number in the source: no fraction, no exponent, no sign. */
static bool set_plain(const struct reading *r)
{
    struct span raw = raw_of(r);
    size_t n_digits = count_digits(raw);
    if (raw.ptr[0] == '-' && count_digits(span_skip(raw, 1)) == raw.len - 1) {
        return fail_range(r);
    }
    if (n_digits != raw.len) {
        return fail(r, "", "must be a whole number, in digits only");
    }
    return set_digits(r, raw, n_digits);
}

static bool set_size(const struct reading *r)
{
    if (cJSON_IsString(r->node->item)) {
        return set_united(r);
    }
    return cJSON_IsNumber(r->node->item) ? set_plain(r) : fail_type(r);
}

static bool set_duration(const struct reading *r)
{
    if (cJSON_IsString(r->node->item)) {
        return set_united(r);
    }
    if (cJSON_IsNumber(r->node->item) && span_eq(raw_of(r), SPAN_LIT("0"))) {
        return put_in_range(r, 0);
    }
    return fail_type(r);
}

static bool set_mode(const struct reading *r)
{
    if (!cJSON_IsString(r->node->item)) {
        return fail_type(r);
    }
    struct span text = span_str(r->node->item->valuestring);
    uint64_t mode = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '7' || text.len > 4) {
            return fail(r, "", "must be three or four octal digits, such as \"0660\"");
        }
        mode = mode * 8 + (uint64_t)(text.ptr[i] - '0');
    }
    if (text.len < 3) {
        return fail(r, "", "must be three or four octal digits, such as \"0660\"");
    }
    return put_in_range(r, mode);
}

/* ---- words ---- */

/* "a", "b" or "c" */
static void list_words(const struct config_word *words, char out[CONFIG_HINT_BYTES])
{
    size_t n = 0;
    for (const struct config_word *w = words; w->word != NULL && n < CONFIG_HINT_BYTES; w++) {
        const char *last = w[1].word == NULL ? " or " : ", ";
        int put =
            snprintf(out + n, CONFIG_HINT_BYTES - n, "%s\"%s\"", w != words ? last : "", w->word);
        n += put > 0 ? (size_t)put : 0;
    }
}

static bool find_word(const struct reading *r, unsigned *value)
{
    struct span word = span_str(r->node->item->valuestring);
    struct config_nearest nearest;
    config_nearest_begin(&nearest, word);
    for (const struct config_word *w = r->target->field->words; w->word != NULL; w++) {
        if (span_eq(word, span_str(w->word))) {
            *value = w->value;
            return true;
        }
        config_nearest_offer(&nearest, span_str(w->word));
    }
    char known[CONFIG_HINT_BYTES];
    char quoted[CONFIG_QUOTE_BYTES];
    char hint[CONFIG_HINT_BYTES] = "";
    list_words(r->target->field->words, known);
    if (nearest.name != NULL) {
        (void)snprintf(hint, sizeof hint, "did you mean \"%s\"?", nearest.name);
    }
    config_problem(r->report, r->node->value, hint, "unknown word %s for %s: write %s%s",
                   config_quote(raw_of(r), quoted), r->target->label, known,
                   r->target->field->type == CONFIG_TYPE_UNSIGNED ? " or a whole number" : "");
    return false;
}

static bool set_word(const struct reading *r)
{
    unsigned value = 0;
    if (!cJSON_IsString(r->node->item)) {
        return fail_type(r);
    }
    return find_word(r, &value) && put_number(r->target, value);
}

/* A number, or the word that stands for one, which may be outside of the range. */
static bool set_unsigned(const struct reading *r)
{
    const struct cJSON *item = r->node->item;
    if (cJSON_IsNumber(item)) {
        return set_plain(r);
    }
    bool may_be_word = r->target->field->words != NULL && cJSON_IsString(item);
    return may_be_word && !is_digits(span_str(item->valuestring)) ? set_word(r) : fail_type(r);
}

/* The strings of a list, one call each; a lone string is a list of one. False: some were refused.
 */
static bool each_string(const struct reading *r, bool (*visit)(const struct reading *, void *),
                        void *state)
{
    if (cJSON_IsString(r->node->item)) {
        return visit(r, state);
    }
    if (!cJSON_IsArray(r->node->item)) {
        return fail_type(r);
    }
    const char *fallback = r->target->field->fallback;
    bool may_be_empty = fallback != NULL && strcmp(fallback, "[]") == 0;
    if (r->node->first_child == 0 && !may_be_empty) {
        return fail(r, "", "must not be empty");
    }
    bool is_good = true;
    struct reading one = *r;
    one.node = r->node->first_child != 0 ? jsonc_first(r->doc, r->node) : NULL;
    for (; one.node != NULL; one.node = jsonc_next(r->doc, one.node)) {
        if (!cJSON_IsString(one.node->item)) {
            is_good = fail_type(&one);
        } else if (!visit(&one, state)) {
            is_good = false;
        }
    }
    return is_good;
}

static bool add_word(const struct reading *r, void *state)
{
    unsigned value = 0;
    bool is_known = find_word(r, &value);
    *(unsigned *)state |= value;
    return is_known;
}

static bool set_words(const struct reading *r)
{
    unsigned bits = 0;
    return each_string(r, add_word, &bits) && put_number(r->target, bits);
}

/* ---- strings ---- */

static bool check_form(const struct reading *r, void *state)
{
    struct config_form_fault fault;
    (void)state;
    if (config_form_check(r->target->field->form, r->node->item->valuestring, &fault)) {
        return true;
    }
    return fail(r, fault.hint, fault.why);
}

static bool fail_memory(struct config_report *report)
{
    report->err = ERR_NOMEM;
    return false;
}

static bool put_string(const struct config_target *target, const char *value,
                       struct config_report *report)
{
    char *copy = mem_copy_string(value, strlen(value));
    if (copy == NULL) {
        return fail_memory(report);
    }
    config_value_clear(target->field, target->part);
    memcpy(member_of(target->field, target->part), &copy, sizeof copy);
    return true;
}

static void free_strings(struct config_strings *list)
{
    for (size_t i = 0; i < list->n; i++) {
        mem_free(list->items[i]);
    }
    mem_free(list->items);
    *list = (struct config_strings){0};
}

static bool add_string(struct config_strings *list, const char *value)
{
    list->items[list->n] = mem_copy_string(value, strlen(value));
    list->n += list->items[list->n] != NULL;
    return list->n != 0 && list->items[list->n - 1] != NULL;
}

/* Replaces the list by the copies in `list`, which the member owns from now on. */
static void put_strings(const struct config_target *target, const struct config_strings *list)
{
    config_value_clear(target->field, target->part);
    memcpy(member_of(target->field, target->part), list, sizeof *list);
}

static bool add_value(const struct reading *r, void *state)
{
    return add_string(state, r->node->item->valuestring) || fail_memory(r->report);
}

static bool set_strings(const struct reading *r)
{
    if (!each_string(r, check_form, NULL)) {
        return false;
    }
    size_t n = cJSON_IsArray(r->node->item) ? jsonc_count(r->doc, r->node) : 1;
    struct config_strings list = {.items = mem_new(n != 0 ? n : 1, sizeof *list.items)};
    if (list.items == NULL) {
        return fail_memory(r->report);
    }
    if (!each_string(r, add_value, &list)) {
        free_strings(&list);
        return false;
    }
    put_strings(r->target, &list);
    return true;
}

static bool set_string(const struct reading *r)
{
    if (!cJSON_IsString(r->node->item)) {
        return fail_type(r);
    }
    return check_form(r, NULL) && put_string(r->target, r->node->item->valuestring, r->report);
}

bool config_value_set_option(const struct config_target *target, const char *option,
                             const char *value, struct config_report *report)
{
    struct config_form_fault fault;
    if (!config_form_check(target->field->form, value, &fault)) {
        config_problem_plain(report, option, fault.hint, "\"%.200s\" %s", value, fault.why);
        return false;
    }
    if (target->field->type == CONFIG_TYPE_STRING) {
        return put_string(target, value, report);
    }
    ASSERT(target->field->type == CONFIG_TYPE_STRINGS);
    struct config_strings list = {.items = mem_new(1, sizeof *list.items)};
    if (list.items == NULL || !add_string(&list, value)) {
        free_strings(&list);
        return fail_memory(report);
    }
    put_strings(target, &list);
    return true;
}

void config_value_clear(const struct config_field *field, void *part)
{
    void *member = member_of(field, part);
    if (field->type == CONFIG_TYPE_STRINGS) {
        free_strings(member);
    }
    if (field->type == CONFIG_TYPE_STRING) {
        char *string;
        memcpy(&string, member, sizeof string);
        mem_free(string);
        memset(member, 0, sizeof string);
    }
}

bool config_value_set(const struct config_target *target, const struct jsonc *doc,
                      const struct jsonc_node *node, struct config_report *report)
{
    struct reading r = {target, doc, node, report};
    switch (target->field->type) {
    case CONFIG_TYPE_BOOL:
        return cJSON_IsBool(node->item) ? put_number(target, cJSON_IsTrue(node->item) != 0)
                                        : fail_type(&r);
    case CONFIG_TYPE_UNSIGNED:
        return set_unsigned(&r);
    case CONFIG_TYPE_SIZE:
        return set_size(&r);
    case CONFIG_TYPE_DURATION:
        return set_duration(&r);
    case CONFIG_TYPE_MODE:
        return set_mode(&r);
    case CONFIG_TYPE_STRING:
        return set_string(&r);
    case CONFIG_TYPE_WORD:
        return set_word(&r);
    case CONFIG_TYPE_WORDS:
        return set_words(&r);
    case CONFIG_TYPE_STRINGS:
        return set_strings(&r);
    }
    return false;
}
